//! The closed list of slots the guard compares.

/// A kind of difference between two questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Slot {
    /// Order numbers, SKUs, error codes, hashes.
    Id,
    /// Versions of software and models.
    Version,
    /// Numbers, ordinals, percentages, clock times, amounts.
    Number,
    /// Months, weekdays, periods, holidays.
    Date,
    /// Units of measure.
    Unit,
    /// Currencies.
    Currency,
    /// Negation parity.
    Negation,
    /// Opposites.
    Antonym,
    /// From and to, who does what to whom.
    Direction,
    /// Before and after.
    Order,
    /// Names of places, firms, products, people.
    Entity,
    /// Spoken and programming languages.
    Language,
    /// Formats, styles and lengths asked for.
    Format,
    /// All, some, none, only, at least.
    Quantifier,
    /// And against or.
    Conjunction,
    /// Plans and service levels.
    Tier,
    /// Roles of people.
    Role,
    /// Whose matter it is.
    Person,
    /// Who, where, when, why, how, how much.
    Aspect,
    /// Used to, still, already.
    Tense,
    /// Superlatives and comparatives.
    Comparison,
    /// One or two content words in an otherwise equal sentence.
    Wording,
}

impl Slot {
    /// Every slot, in the order in which they are compared.
    pub const ALL: [Self; 22] = [
        Self::Id,
        Self::Version,
        Self::Number,
        Self::Date,
        Self::Unit,
        Self::Currency,
        Self::Negation,
        Self::Antonym,
        Self::Direction,
        Self::Order,
        Self::Entity,
        Self::Language,
        Self::Format,
        Self::Quantifier,
        Self::Conjunction,
        Self::Tier,
        Self::Role,
        Self::Person,
        Self::Aspect,
        Self::Tense,
        Self::Comparison,
        Self::Wording,
    ];

    /// Whether a sure verifier may overrule it: slots read from common words, which also differ between wordings of one
    /// question. What names a thing or a quantity, and what turns a question round, is never overruled.
    pub const fn is_soft(self) -> bool {
        matches!(self, Self::Wording)
    }

    /// The stable name, in kebab case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Version => "version",
            Self::Number => "number",
            Self::Date => "date",
            Self::Unit => "unit",
            Self::Currency => "currency",
            Self::Negation => "negation",
            Self::Antonym => "antonym",
            Self::Direction => "direction",
            Self::Order => "order",
            Self::Entity => "entity",
            Self::Language => "language",
            Self::Format => "format",
            Self::Quantifier => "quantifier",
            Self::Conjunction => "conjunction",
            Self::Tier => "tier",
            Self::Role => "role",
            Self::Person => "person",
            Self::Aspect => "aspect",
            Self::Tense => "tense",
            Self::Comparison => "comparison",
            Self::Wording => "wording",
        }
    }
}

impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for Slot {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
