"""The pure heart of Freshloop: records and arrays in, records and arrays out; no Kafka, no clock, no files."""
