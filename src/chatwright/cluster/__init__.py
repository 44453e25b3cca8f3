"""Chatwright on a Ray cluster: Ray places, supervises, scales and updates; tokens go from replica to API over our own frames.

Owns: Serve deployments of API and models, the directory by which they find each other, scaling, `deploy`.
May not touch: what a request means, how tokens are made. `ray` is imported in this room only, and only where it is used.
To place models in another way: `deployments.py`; to scale by another measure: `scaling.py`.
"""
