"""A user's own folder of videos, masks and expressions (docs/own_data.md): check and reader."""
