"""From MQTT into Kafka: bytes are moved, nothing is judged."""
