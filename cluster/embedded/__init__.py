"""The embedded S3 server: SeaweedFS, started on demand and closed to others."""
