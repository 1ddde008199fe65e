"""The SDK: what a Python program uses to talk to a cluster. It does not import servers, Ray, FAISS or etcd."""
