//! machine-linux
