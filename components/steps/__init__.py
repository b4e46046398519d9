"""Steps: plain functions from records to a record, one file each."""
