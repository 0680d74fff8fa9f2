"""Optical flow between annotated frames and their neighbours: RAFT through ptlflow, stored in one
compact file a video (stage compute_flow).

Reading (`FlowStore`) needs neither torch nor ptlflow.
"""

from losh.flow.flow_store import FlowStore

__all__ = ["FlowStore"]
