//! What is remembered of a pair: which message is which, what both ends had agreed on, and what was about to
//! be done when the process died.
//!
//! Nothing here knows an end. One file a pair, and one process at a time: the lock is the kernel's, so that
//! it ends with the process.
