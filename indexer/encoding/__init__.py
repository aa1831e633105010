"""Encoding what is new into the feature stores."""
