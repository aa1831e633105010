"""Encoding new contents into the feature stores."""
