"""From Kafka into the database: decode, judge, one transaction a batch."""
