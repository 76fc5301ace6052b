"""Random generators: found, watched for use, and given back as they were."""
