use super::*;
use verifier::scripted::ScriptedVerifier;

const CACHED: &str = "How do I enable two-factor authentication?";
const REWORDED: &str = "How can I turn on 2FA?";
const PAIRING: Pairing = (EntryId(7), Fingerprint::from_bytes([1; 32]));

fn similarity(value: f32) -> Similarity {
    Similarity::new(value).unwrap()
}

fn matcher(verifier: Option<Arc<dyn Verifier>>) -> Matcher {
    let settings =
        MatcherSettings { floor: similarity(0.7), min_similarity: similarity(0.9), candidates: 8, verified: 3 };
    Matcher::new(settings, verifier)
}

fn scripted() -> Arc<ScriptedVerifier> {
    Arc::new(ScriptedVerifier::new(&[(0.1, 0.6), (0.02, 0.8), (0.005, 0.95)]).unwrap())
}

const fn terms(max_wrong_hits: f64) -> Terms {
    Terms { threshold: None, max_wrong_hits, cost_of_wrong_usd: None }
}

async fn judge(matcher: &Matcher, asked: &str, terms: &Terms) -> Judgement {
    matcher.judge(CACHED, &Asked::new(asked), similarity(0.8), terms).await
}

#[tokio::test]
async fn without_a_verifier_similarity_decides() {
    let matcher = matcher(None);
    assert_eq!(judge(&matcher, REWORDED, &terms(0.02)).await.reason, "below-threshold");
    let near = matcher.judge(CACHED, &Asked::new(REWORDED), similarity(0.95), &terms(0.02)).await;
    assert!(near.accepted() && near.p_same.is_none());
}

#[tokio::test]
async fn a_hit_needs_the_p_that_the_categorys_budget_asks_for() {
    let verifier = scripted();
    verifier.say(CACHED, REWORDED, 0.9);
    let matcher = matcher(Some(verifier));
    let served = judge(&matcher, REWORDED, &terms(0.02)).await;
    assert!(served.accepted());
    assert_eq!((served.decision, served.p_same, served.bar), ("hit", Some(PSame::new(0.9)), 0.8));
    assert!((served.margin.unwrap() - 0.1).abs() < 1e-6);
    assert_eq!(judge(&matcher, REWORDED, &terms(0.01)).await.reason, "verifier-rejected");
    assert_eq!(judge(&matcher, REWORDED, &terms(0.001)).await.reason, "exact-only");
}

#[tokio::test]
async fn a_pair_that_the_guard_rejects_never_reaches_the_verifier() {
    let verifier = scripted();
    let near = "How do I disable two-factor authentication?";
    verifier.say(CACHED, near, 1.0);
    let matcher = matcher(Some(Arc::<ScriptedVerifier>::clone(&verifier)));
    let refused = judge(&matcher, near, &terms(0.1)).await;
    assert_eq!((refused.reason, refused.guard.slot, verifier.calls()), ("guard-rejected", Some("antonym"), 0));
}

#[tokio::test]
async fn the_cost_of_a_wrong_answer_raises_the_bar() {
    let verifier = scripted();
    verifier.say(CACHED, REWORDED, 0.9);
    let matcher = matcher(Some(verifier));
    let dear = Terms { cost_of_wrong_usd: Some(0.4), ..terms(0.02) };
    let refused = judge(&matcher, REWORDED, &dear).await;
    assert_eq!((refused.reason, refused.bar), ("verifier-rejected", 0.995));
    let cheap = Terms { cost_of_wrong_usd: Some(0.001), ..terms(0.02) };
    assert!(judge(&matcher, REWORDED, &cheap).await.accepted());
}

#[tokio::test]
async fn a_refused_pairing_is_remembered_and_a_looser_bar_is_held_against_it() {
    let verifier = scripted();
    verifier.say(CACHED, REWORDED, 0.7);
    let matcher = matcher(Some(Arc::<ScriptedVerifier>::clone(&verifier)));
    let asked = Asked::new(REWORDED);
    for (budget, reason) in [(0.02, "verifier-rejected"), (0.02, "verifier-rejected"), (0.1, "semantic")] {
        let screened = matcher.screen(CACHED, &asked, similarity(0.8), &terms(budget));
        assert_eq!(matcher.verify(screened, CACHED, &asked, Some(PAIRING)).await.reason, reason);
    }
    assert_eq!(verifier.calls(), 1);
}

#[tokio::test]
async fn a_verifier_that_fails_refuses_with_its_own_reason() {
    let verifier = scripted();
    let matcher = matcher(Some(Arc::<ScriptedVerifier>::clone(&verifier)));
    verifier.fail_with(Some(VerifyError::Down("queue is full".to_owned())));
    assert_eq!(judge(&matcher, REWORDED, &terms(0.1)).await.reason, "verifier-down");
    verifier.fail_with(Some(VerifyError::TooLong { tokens: 600, window: 512 }));
    assert_eq!(judge(&matcher, REWORDED, &terms(0.1)).await.reason, "verifier-rejected");
}

#[tokio::test]
async fn a_request_may_ask_for_more_similarity_and_never_for_less() {
    let verifier = scripted();
    verifier.say(CACHED, REWORDED, 1.0);
    let matcher = matcher(Some(verifier));
    let asking = |threshold| Terms { threshold: Some(threshold), ..terms(0.1) };
    assert_eq!(judge(&matcher, REWORDED, &asking(0.85)).await.reason, "below-threshold");
    assert!(judge(&matcher, REWORDED, &asking(0.1)).await.accepted());
    let far = matcher.judge(CACHED, &Asked::new(REWORDED), similarity(0.6), &asking(0.1)).await;
    assert_eq!(far.reason, "below-threshold");
}
