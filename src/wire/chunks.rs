//! Event streams of chunks, as chat completions and legacy completions send them: each repeats a head and holds a piece of
//! the one choice, `[DONE]` ends them. `reduce` adds them up to one object, `render` cuts an object into them; what is said
//! inside the choice is the family's own.

pub(super) mod reduce;
pub(super) mod render;
