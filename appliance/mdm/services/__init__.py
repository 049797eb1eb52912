"""What the MDM does: functions over the unit of work. JSON objects come out, rows never do."""
