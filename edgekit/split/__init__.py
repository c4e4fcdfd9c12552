"""Split learning and split inference: one network over several edge servers, cut where it is cheapest."""
