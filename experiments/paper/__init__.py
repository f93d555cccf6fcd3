"""The paper's experiments on the embedded world: `make paper`."""
