"""`influxdb://`: a store on an InfluxDB server of version 1, 2 or 3."""
