mod edits;
mod exports;
mod refusals;
mod support;
