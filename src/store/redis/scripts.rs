//! The scripts: each is one step that no other node can come between.
//!
//! Besides the keys they are given they reach others of the same part, which are in the same slot.

use std::sync::LazyLock;

use redis::Script;

macro_rules! scripts {
    ($($name:ident: $file:literal,)+) => {
        $(pub(super) static $name: LazyLock<Code> = LazyLock::new(|| Code::of(include_str!($file)));)+
    };
}

scripts! {
    ADMIT: "lua/admit.lua",
    APPEND: "lua/append.lua",
    ASSERT: "lua/assert.lua",
    BEGIN: "lua/begin.lua",
    BLOCK: "lua/block.lua",
    CHANGES: "lua/changes.lua",
    DEPENDENTS: "lua/dependents.lua",
    EMBEDDING: "lua/embedding.lua",
    FIND: "lua/find.lua",
    FOLLOW: "lua/follow.lua",
    FORGET: "lua/forget.lua",
    LEASE: "lua/lease.lua",
    POINT: "lua/point.lua",
    REMOVE: "lua/remove.lua",
    REPLACED: "lua/replaced.lua",
    SOFTEN: "lua/soften.lua",
    SOURCE: "lua/source.lua",
    SWEPT: "lua/swept.lua",
    TOUCH: "lua/touch.lua",
    UNBLOCK: "lua/unblock.lua",
    VANISHED: "lua/vanished.lua",
    WORDING: "lua/wording.lua",
}

/// A script and what the engine knows it by.
#[derive(Debug)]
pub(super) struct Code {
    pub(super) text: String,
    pub(super) hash: String,
}

impl Code {
    fn of(body: &str) -> Self {
        let text = format!("{}{body}", include_str!("lua/prelude.lua"));
        let hash = Script::new(&text).get_hash().to_owned();
        Self { text, hash }
    }
}
