"""From a recording to a graph: :func:`fracstride.torch.capture.reading.lower.lower`."""
