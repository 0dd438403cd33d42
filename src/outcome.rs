//! What became of a request: exactly one [`Outcome`] with a reason from a closed list (I8).
//!
//! Header, metric, log line and ledger are all rendered from the same value, so they cannot disagree.

use crate::similarity::Similarity;

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident => $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every reason, for metrics that start at zero and for the test that pins the list.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Stable token: a metric label, a log field and a `Cache-Status` detail.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

reasons! {
    /// Why the cache was not consulted.
    BypassReason {
        /// `n` above one.
        SeveralChoices => "n-gt-1",
        /// Token probabilities were asked for.
        Logprobs => "logprobs",
        /// Audio in or out.
        Audio => "audio",
        /// The model searches the web.
        WebSearch => "web-search",
        /// The provider keeps the answer for a later read by id.
        ProviderStore => "provider-store",
        /// Goes on from something that the provider keeps: a container, a thread.
        ProviderState => "provider-state",
        /// Asks for no answer, only that the provider reads the prompt ahead.
        WarmUp => "warm-up",
        /// Predicted output was given.
        Prediction => "prediction",
        /// Temperature above the configured ceiling.
        HotSampling => "temperature",
        /// An image or file by URL, whose content may change.
        RemoteContent => "remote-content",
        /// The turn continues an answer that the provider keeps (`previous_response_id`).
        PreviousResponse => "previous-response",
        /// The turn continues a conversation that the provider keeps.
        Conversation => "conversation",
        /// An earlier turn is named by the provider's id instead of given.
        ItemReference => "item-reference",
        /// The answer is made in the background and fetched later.
        Background => "background",
        /// The prompt is a template that the provider keeps and may change.
        PromptTemplate => "prompt-template",
        /// A tool that runs at the provider, or a trace of one.
        HostedTool => "hosted-tool",
        /// The answer is asked for in a form that the cache does not read.
        OtherForm => "other-form",
        /// An input item of a kind that the cache does not know.
        UnknownItem => "unknown-item",
        /// Duplicate keys, bad UTF-8, not an object, or a field of the wrong kind.
        Unparsable => "unparsable",
        /// The body is above the cacheable size.
        BodyTooLarge => "body-too-large",
        /// A content or transfer coding that the cache does not read.
        Encoded => "encoded-body",
        /// The category's ttl is zero.
        ZeroTtl => "zero-ttl",
        /// The question holds personal data, which the category's policy keeps out.
        PersonalData => "personal-data",
        /// `Cache-Control: no-store`.
        NoStore => "no-store",
        /// `x-semblance-mode: off`.
        ModeOff => "mode-off",
        /// Not a cacheable path or method.
        Passthrough => "passthrough",
        /// The gateway has no room for another fetch, or to read the body; the upstream answers without it.
        Overloaded => "overloaded",
        /// The cache is starting: categories cannot be told yet.
        Warming => "warming",
        /// No credential, so no scope.
        Anonymous => "anonymous",
        /// The gateway itself refused the request: no credential, too large, a directive it cannot read.
        Refused => "refused",
    }
}

reasons! {
    /// Why a consulted cache did not serve.
    MissReason {
        /// Nothing in the partition.
        Empty => "empty",
        /// Of several things asked for, some were there.
        Partial => "partial",
        /// Entries, but none near enough.
        BelowThreshold => "below-threshold",
        /// A neighbour was refused by the contrast guard.
        GuardRejected => "guard-rejected",
        /// A neighbour was refused by the verifier.
        VerifierRejected => "verifier-rejected",
        /// A neighbour could not be verified: the verifier failed or was too slow.
        VerifierDown => "verifier-down",
        /// A neighbour was found wrong for this question earlier, by audit, feedback or judge.
        Blocked => "blocked",
        /// A neighbour was accepted and not served: its category has too many wrong hits.
        Tripped => "tripped",
        /// A neighbour was accepted and not served: in shadow mode nothing is.
        Shadow => "shadow",
        /// The entry is too old, or too young for the request's bounds.
        Expired => "expired",
        /// The entry's answer is longer than the request allows.
        TokenLimit => "token-limit",
        /// The entry cannot be rendered in the shape asked for, or the entries of a batch do not belong together.
        OtherShape => "other-shape",
        /// `Cache-Control: no-cache` or `max-age=0`.
        Refresh => "request",
        /// The request may only be matched exactly, and was not found.
        ExactOnly => "exact-only",
        /// The question or the entry holds personal data: it is found by the same question of the same credential only.
        PersonalData => "personal-data",
        /// A running fetch of a question that means the same has the answer.
        SameMeaning => "same-meaning",
        /// The embedder failed or was too slow.
        EmbedderDown => "embedder-down",
        /// Store or index failed.
        CacheError => "cache-error",
    }
}

reasons! {
    /// Why an answer was not stored.
    NotStored {
        /// The status is not 200.
        Status => "status",
        /// The stream ended without its terminal marker, or broke.
        Incomplete => "incomplete",
        /// An error object in a 200 body or stream.
        ErrorBody => "error-body",
        /// `finish_reason` is `length`.
        FinishLength => "finish-length",
        /// `finish_reason` is `content_filter`.
        FinishFilter => "finish-content-filter",
        /// The model called a tool; such answers are exact-only and opt-in.
        FinishTool => "finish-tool-calls",
        /// Any other or no finish reason.
        FinishOther => "finish-other",
        /// The model refused.
        Refusal => "refusal",
        /// No content.
        EmptyAnswer => "empty-answer",
        /// JSON was asked for and the content does not parse.
        NotJson => "not-json",
        /// The upstream forbade it (`Cache-Control: no-store` or `private`).
        UpstreamForbids => "upstream-forbids",
        /// A content coding the recorder does not read.
        Encoded => "encoded",
        /// Not a body of the protocol.
        Malformed => "malformed",
        /// Above the size kept.
        TooLarge => "too-large",
        /// A purge or source update overtook the generation, or a ban covers it.
        Purged => "purged",
        /// It is built on a version of a document that an update has replaced.
        OldSource => "old-source",
        /// The upstream put it into more groups than are kept.
        TooManyTags => "too-many-tags",
        /// The policy does not store (`write = "around"` or ttl zero).
        Policy => "policy",
        /// The gateway's key that asked may not write.
        KeyScope => "key-scope",
        /// A fallback upstream gave it, and the request's scope names another.
        FallbackUpstream => "fallback-upstream",
        /// The answer holds personal data, which the category's policy keeps out.
        PersonalData => "personal-data",
        /// Storing failed.
        CacheError => "cache-error",
    }
}

/// How a hit was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum HitKind {
    /// By fingerprint.
    Exact,
    /// By fingerprint of a wording accepted earlier.
    Alias,
    /// By meaning, accepted by guard and verifier.
    Semantic(Similarity),
}

reasons! {
    /// Why a stale answer was served.
    StaleWhy {
        /// Inside `stale_while_revalidate`; one refresh runs behind.
        WhileRevalidate => "stale-while-revalidate",
        /// Inside `stale_if_error`; the upstream failed.
        IfError => "stale-if-error",
        /// The request's own `max-stale`.
        Asked => "max-stale",
    }
}

/// The one outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// Served fresh from the cache.
    Hit(HitKind),
    /// Served from the cache past its ttl.
    StaleHit(HitKind, StaleWhy),
    /// Fetched by this request.
    Miss(MissReason),
    /// Shared a running fetch of the same question.
    Collapsed(MissReason),
    /// The cache was not consulted.
    Bypass(BypassReason),
    /// `only-if-cached` and not cached: answered 504 without an upstream call.
    Unsatisfied,
}

impl Outcome {
    /// Whether the answer was served without buying it.
    pub const fn saves(self) -> bool {
        matches!(self, Self::Hit(_) | Self::StaleHit(..) | Self::Collapsed(_))
    }

    /// The value of `x-semblance-cache`, and the `outcome` label of metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Hit(HitKind::Exact | HitKind::Alias) => "hit-exact",
            Self::Hit(HitKind::Semantic(_)) => "hit-semantic",
            Self::StaleHit(..) => "stale",
            Self::Miss(_) | Self::Unsatisfied => "miss",
            Self::Collapsed(_) => "collapsed",
            Self::Bypass(_) => "bypass",
        }
    }

    /// The stable reason behind the label.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Hit(HitKind::Exact) => "exact",
            Self::Hit(HitKind::Alias) => "alias",
            Self::Hit(HitKind::Semantic(_)) => "semantic",
            Self::StaleHit(_, why) => why.as_str(),
            Self::Miss(reason) | Self::Collapsed(reason) => reason.as_str(),
            Self::Bypass(reason) => reason.as_str(),
            Self::Unsatisfied => "only-if-cached",
        }
    }
}
