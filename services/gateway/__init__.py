"""From MQTT to Kafka: moves bytes and judges nothing. Begin reading at ``gateway.py``."""
