PY := .venv/bin/python

.PHONY: proto
proto:
	$(PY) -m grpc_tools.protoc -I proto --python_out=. --pyi_out=. --grpc_python_out=. $$(cd proto && find . -name '*.proto' | sed 's,^\./,,' | sort)
