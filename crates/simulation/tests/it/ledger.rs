//! The field's failures, each a test named after its article.
