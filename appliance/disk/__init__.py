"""What lies on a device (its records and files), and how it is read without an SDS or an MDM."""
