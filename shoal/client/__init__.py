"""The SDK: what a Python program uses to talk to a cluster. Refuses to know servers, Ray, FAISS and etcd."""
