//! Images: references, manifests, configs, history, tags, save and load.
