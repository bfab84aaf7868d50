//! The reducer, told as stories: events in, model and effects out.
