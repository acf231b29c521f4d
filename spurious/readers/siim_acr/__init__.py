"""The SIIM-ACR pneumothorax release with chest-tube labels."""
