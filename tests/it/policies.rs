//! The life of policies: shown in plain English, tried, saved, kept as versions and restored, over the admin listener.

use std::{fs, time::Duration};

use semblance::config::Secret;
use serde_json::{Value, json};

use crate::harness::{Setup, TestGateway, eventually, user};

const ASKED: &str = "How do I descale a kettle?";
const DAY: &str = "category = \"default\"\n[freshness]\nttl = \"24h\"\n";
const MINUTE: &str = "category = \"default\"\n[freshness]\nttl = \"1m\"\n";
const TEA: &str = "category = \"tea\"\n[match]\nphrases = [\"oolong\"]\n[freshness]\nttl = \"7d\"\n";

async fn start() -> TestGateway {
    Setup::new().policies(&[("default.toml", DAY), ("tea.toml", TEA)]).start().await
}

async fn put(gateway: &TestGateway, body: &Value) -> (u16, Value) {
    let request = gateway.client.put(gateway.admin("/semblance/policies/files"));
    let response = request.header("content-type", "application/json").body(body.to_string()).send().await.unwrap();
    (response.status().as_u16(), serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
}

async fn revision(gateway: &TestGateway) -> Value {
    gateway.admin_get("/semblance/policies/files").await["revision"].clone()
}

/// Saves these files over what is there now.
async fn save(gateway: &TestGateway, files: Value) -> (u16, Value) {
    let base = revision(gateway).await;
    put(gateway, &json!({"files": files, "base_revision": base, "who": "Ann", "note": "because"})).await
}

async fn versions(gateway: &TestGateway) -> Vec<Value> {
    gateway.admin_get("/semblance/policies/history").await["versions"].as_array().unwrap().clone()
}

/// The members of `value` with these names.
fn members<const N: usize>(value: &Value, names: [&str; N]) -> [Value; N] {
    names.map(|name| value[name].clone())
}

fn reason(answer: &Value) -> &str {
    answer["error"]["reason"].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_save_takes_effect_on_the_next_request_and_a_restore_takes_it_back() {
    let gateway = start().await;
    gateway.ask(ASKED).await;
    gateway.hand.advance(Duration::from_secs(600));
    assert_eq!(gateway.ask(ASKED).await.outcome(), "hit-exact");
    let (status, saved) = save(&gateway, json!({"default.toml": MINUTE})).await;
    assert_eq!((status, &saved["version"]), (200, &json!(2)), "{saved}");
    let listed = gateway.admin_get("/semblance/policies").await;
    assert_eq!(listed["revision"], saved["revision"]);
    assert_eq!(fs::read_to_string(gateway.policy_file("default.toml")).unwrap(), MINUTE);
    assert_eq!(gateway.chat_with(&user(ASKED), &[("cache-control", "only-if-cached")]).await.status, 504);
    let back = json!({"version": 1, "who": "Bob", "note": "too dear"});
    let (status, restored) = gateway.admin_post("/semblance/policies/restore", &back).await;
    assert_eq!((status, &restored["version"]), (200, &json!(3)), "{restored}");
    assert_eq!(gateway.ask(ASKED).await.outcome(), "hit-exact");
    assert_eq!(fs::read_to_string(gateway.policy_file("default.toml")).unwrap(), DAY);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_says_who_when_how_and_what() {
    let gateway = start().await;
    gateway.hand.advance(Duration::from_millis(5000));
    save(&gateway, json!({"default.toml": MINUTE, "tea.toml": null})).await;
    let (_, restored) = gateway
        .admin_post("/semblance/policies/restore", &json!({"version": 1, "who": "  Bob\n", "note": "tea is back"}))
        .await;
    let versions = versions(&gateway).await;
    let start = crate::harness::START.as_millis();
    let told: Vec<[Value; 6]> =
        versions.iter().map(|version| members(version, ["version", "who", "note", "by", "changed", "at_ms"])).collect();
    let both = json!(["default.toml", "tea.toml"]);
    assert_eq!(
        told,
        [
            [json!(3), json!("Bob"), json!("tea is back"), json!("restore"), both.clone(), json!(start + 5000)],
            [json!(2), json!("Ann"), json!("because"), json!("dashboard"), both.clone(), json!(start + 5000)],
            [json!(1), json!(""), json!(""), json!("start"), both, json!(start)],
        ]
    );
    assert_eq!(versions[0]["revision"], restored["revision"]);
    assert_eq!(versions[0]["revision"], versions[2]["revision"], "the same files are the same revision");
    let second = gateway.admin_get("/semblance/policies/history/2").await;
    assert_eq!(second["files"], json!({"default.toml": MINUTE}));
    let changes: Vec<[Value; 4]> = second["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| members(change, ["category", "key", "from", "to"]))
        .collect();
    assert_eq!(
        changes,
        [
            [json!("default"), json!("freshness.ttl"), json!("24h"), json!("1m")],
            [json!("tea"), json!("category"), json!("tea"), Value::Null],
        ]
    );
    let plain = second["changes"][0]["plain"].as_str().unwrap();
    assert!(plain.starts_with("Answers are fetched anew up to 1,440 times as often"), "{plain}");
    let none = gateway.client.get(gateway.admin("/semblance/policies/history/9")).send().await.unwrap();
    assert_eq!(none.status(), 404);
    let (status, answer) = gateway.admin_post("/semblance/policies/restore", &json!({"version": 9})).await;
    assert_eq!((status, reason(&answer)), (404, "no-version"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_edit_changes_nothing_and_names_each_problem_with_file_line_and_key() {
    let gateway = start().await;
    let before = gateway.admin_get("/semblance/policies/files").await;
    let edit = json!({
        "default.toml": "category = \"default\"\n[freshness]\nttl = \"soon\"\n",
        "tea.toml": "category = \"tea\"\nowner = 3\n[match]\nphrases = [\"oolong\"]\n[freshness]\nttl = \"1h\"\n",
    });
    let (status, answer) = save(&gateway, edit.clone()).await;
    assert_eq!((status, reason(&answer)), (422, "policy-problems"));
    let (_, checked) = gateway.admin_post("/semblance/policies/check", &json!({"files": edit})).await;
    assert_eq!((&checked["ok"], &checked["problems"]), (&json!(false), &answer["problems"]));
    let problems: Vec<[Value; 3]> = answer["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| members(problem, ["file", "line", "key"]))
        .collect();
    assert_eq!(
        problems,
        [[json!("default.toml"), json!(3), json!("freshness.ttl")], [json!("tea.toml"), json!(2), json!("owner")],]
    );
    assert_eq!(gateway.admin_get("/semblance/policies/files").await, before);
    assert_eq!(versions(&gateway).await.len(), 1);
    let (status, answer) = save(&gateway, json!({"default.toml": null})).await;
    assert_eq!((status, reason(&answer)), (422, "policy-problems"), "a set without a default is none");
    gateway.ask(ASKED).await;
    assert_eq!(gateway.ask(ASKED).await.outcome(), "hit-exact");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_save_made_from_older_files_is_a_conflict() {
    let gateway = start().await;
    let base = revision(&gateway).await;
    let edit = |text: &str| json!({"files": {"default.toml": text}, "base_revision": base, "who": "Ann"});
    assert_eq!(put(&gateway, &edit(MINUTE)).await.0, 200);
    let (status, answer) = put(&gateway, &edit(DAY)).await;
    assert_eq!((status, reason(&answer)), (409, "policy-conflict"));
    assert_eq!(answer["revision"], revision(&gateway).await);
    // An edit by hand that the gateway has not even seen is not overwritten either.
    let base = revision(&gateway).await;
    fs::write(gateway.policy_file("tea.toml"), TEA.replace("7d", "8d")).unwrap();
    let edit = json!({"files": {"default.toml": DAY}, "base_revision": base});
    assert_eq!(put(&gateway, &edit).await.0, 409);
    assert!(fs::read_to_string(gateway.policy_file("tea.toml")).unwrap().contains("8d"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_saves_at_the_same_time_one_is_a_conflict() {
    let gateway = start().await;
    let base = revision(&gateway).await;
    let edit = |text: &str| json!({"files": {"default.toml": text}, "base_revision": base});
    let other = MINUTE.replace("1m", "2m");
    let (one, two) = (edit(MINUTE), edit(&other));
    let (one, two) = tokio::join!(put(&gateway, &one), put(&gateway, &two));
    let mut statuses = [one.0, two.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    assert_eq!(versions(&gateway).await.len(), 2);
    let files = gateway.admin_get("/semblance/policies/files").await;
    assert_eq!(files["in_use"], files["revision"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_save_that_the_disk_refuses_changes_nothing_and_says_so() {
    let gateway = start().await;
    let before = gateway.admin_get("/semblance/policies/files").await;
    // No file can take the place of a directory.
    fs::create_dir(gateway.policy_file("zen.toml")).unwrap();
    let zen = TEA.replace("tea", "zen").replace("oolong", "zen");
    let (status, answer) = save(&gateway, json!({"default.toml": MINUTE, "zen.toml": zen})).await;
    assert_eq!((status, reason(&answer)), (500, "policy-files"), "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().starts_with("nothing was changed: "), "{answer}");
    assert_eq!(gateway.admin_get("/semblance/policies/files").await, before);
    assert_eq!(versions(&gateway).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_lead_out_of_the_directory_are_refused() {
    let gateway = start().await;
    let outside = gateway.policy_file("..").join("outside.toml");
    for name in [
        "../outside.toml",
        "/tmp/outside.toml",
        "a/../../outside.toml",
        "..\\outside.toml",
        ".hidden.toml",
        "default.txt",
        "",
        "..",
    ] {
        for text in [json!(TEA.replace("tea", "outside").replace("oolong", "x")), Value::Null] {
            let (status, answer) = save(&gateway, json!({ name: text })).await;
            assert_eq!(status, 422, "{name}: {answer}");
            assert_eq!(answer["problems"][0]["file"], name, "{answer}");
        }
    }
    assert!(!outside.exists());
    assert_eq!(versions(&gateway).await.len(), 1);
    let names: Vec<_> =
        fs::read_dir(gateway.policy_file("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_tells_plain_words_and_changes_and_changes_nothing() {
    let gateway = start().await;
    let before = gateway.admin_get("/semblance/policies/files").await;
    let (status, checked) =
        gateway.admin_post("/semblance/policies/check", &json!({"files": {"tea.toml": TEA.replace("7d", "1d")}})).await;
    assert_eq!((status, &checked["ok"], &checked["problems"]), (200, &json!(true), &json!([])));
    assert_eq!(
        checked["plain"]["tea"][0],
        "An answer about tea is fresh for 24 hours; after that the next question fetches a new one."
    );
    assert_eq!(
        checked["changes"],
        json!([{"category": "tea", "key": "freshness.ttl", "from": "7d", "to": "24h", "plain":
            "Answers are fetched anew up to 7 times as often: each is fresh for 24 hours instead of 7 days."}])
    );
    assert_eq!(gateway.admin_get("/semblance/policies/files").await, before);
    let (_, saved) = save(&gateway, json!({"tea.toml": TEA.replace("7d", "1d")})).await;
    assert_eq!(saved["revision"], checked["revision"], "the check told the revision of the save");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_listed_with_their_texts_and_plain_words() {
    let gateway = start().await;
    let files = gateway.admin_get("/semblance/policies/files").await;
    assert_eq!((&files["editable"], &files["problems"]), (&json!(true), &json!([])));
    assert_eq!(files["revision"], files["in_use"]);
    let [file, category, text] = members(&files["files"][1], ["file", "category", "text"]);
    assert_eq!([file, category, text], [json!("tea.toml"), json!("tea"), json!(TEA)]);
    let listed = gateway.admin_get("/semblance/policies").await;
    let tea = &listed["policies"][1];
    assert_eq!((&tea["file"], &tea["plain"]), (&json!("tea.toml"), &files["files"][1]["plain"]));
    // A broken edit by hand is shown as it is, with what is wrong, so that it can be mended where it is shown.
    fs::write(gateway.policy_file("tea.toml"), "category = ").unwrap();
    let files = gateway.admin_get("/semblance/policies/files").await;
    assert_eq!(files["files"][1]["text"], "category = ");
    assert_eq!(files["problems"][0]["file"], "tea.toml");
    assert_ne!(files["revision"], files["in_use"]);
    assert_eq!(save(&gateway, json!({"tea.toml": TEA})).await.0, 200);
    assert_eq!(gateway.admin_get("/semblance/policies/files").await["problems"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_by_hand_and_a_start_with_other_files_are_versions_too_and_the_same_files_are_none() {
    let gateway = start().await;
    fs::write(gateway.policy_file("default.toml"), MINUTE).unwrap();
    eventually("the edit is a version", || async { versions(&gateway).await.len() == 2 }).await;
    let file = gateway.policy_file("tea.toml");
    let gateway = gateway.restart_after(|| fs::remove_file(file).unwrap()).await;
    let gateway = gateway.restart().await;
    let told: Vec<[Value; 3]> =
        versions(&gateway).await.iter().map(|v| members(v, ["version", "by", "changed"])).collect();
    assert_eq!(
        told,
        [
            [json!(3), json!("start"), json!(["tea.toml"])],
            [json!(2), json!("file"), json!(["default.toml"])],
            [json!(1), json!("start"), json!(["default.toml", "tea.toml"])],
        ]
    );
    save(&gateway, json!({"default.toml": DAY})).await;
    // The watcher sees the save as well, and two looks later it would have told.
    tokio::time::sleep(Duration::from_millis(1600)).await;
    let newest = &versions(&gateway).await[0];
    assert_eq!(members(newest, ["version", "by"]), [json!(4), json!("dashboard")]);
    let (status, unchanged) = save(&gateway, json!({"default.toml": DAY})).await;
    assert_eq!((status, &unchanged["version"]), (200, &json!(4)), "nothing new is no version");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_on_its_built_in_policies_shows_and_checks_and_saves_nothing() {
    let gateway = TestGateway::start().await;
    let files = gateway.admin_get("/semblance/policies/files").await;
    assert_eq!(files["editable"], json!(false));
    assert_eq!(files["files"].as_array().unwrap().len(), 14);
    let edit = json!({"product-faq.toml": null});
    let (status, checked) = gateway.admin_post("/semblance/policies/check", &json!({"files": edit})).await;
    assert_eq!((status, &checked["changes"][0]["category"]), (200, &json!("product-faq")), "{checked}");
    let (status, answer) = save(&gateway, edit).await;
    assert_eq!((status, reason(&answer)), (409, "no-policy-directory"));
    let (status, answer) = gateway.admin_post("/semblance/policies/restore", &json!({"version": 1})).await;
    assert_eq!((status, reason(&answer)), (409, "no-policy-directory"));
    assert_eq!(versions(&gateway).await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_save_that_was_cut_off_between_two_files_is_completed_at_the_next_start() {
    // The two categories change places: half of the edit would be two files of one category.
    let coffee = TEA.replace("tea", "coffee").replace("oolong", "espresso");
    let files = [("default.toml", DAY), ("a.toml", TEA), ("b.toml", coffee.as_str())];
    let gateway = Setup::new().policies(&files).start().await;
    let (a, journal) = (gateway.policy_file("a.toml"), gateway.policy_file(".semblance-save.json"));
    let written = json!([
        {"file": "a.toml", "before": TEA, "after": coffee},
        {"file": "b.toml", "before": coffee, "after": TEA},
    ]);
    let gateway = gateway
        .restart_after(|| {
            fs::write(&journal, written.to_string()).unwrap();
            fs::write(&a, &coffee).unwrap();
        })
        .await;
    let listed = gateway.admin_get("/semblance/policies").await;
    let categories = listed["policies"].as_array().unwrap().iter().map(|policy| policy["category"].clone());
    assert_eq!(categories.collect::<Vec<_>>(), [json!("coffee"), json!("tea"), json!("default")]);
    assert!(!journal.exists());
    assert_eq!(versions(&gateway).await[0]["changed"], json!(["a.toml", "b.toml"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_explanation_names_the_revision_of_the_policies() {
    let gateway = start().await;
    gateway.ask(ASKED).await;
    let revision = revision(&gateway).await;
    for body in [json!({"ask": ASKED}), json!({"ask": ASKED, "cached": ASKED})] {
        let (status, explained) = gateway.admin_post("/semblance/explain", &body).await;
        assert_eq!((status, &explained["policy_revision"]), (200, &revision), "{explained}");
        assert_eq!(explained["category"], "default");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_are_behind_the_admin_token() {
    let token = Secret::new("s3cret".to_owned());
    let gateway =
        Setup::new().policies(&[("default.toml", DAY)]).config(|config| config.admin_token = Some(token)).start().await;
    let get = |path: &str| gateway.client.get(gateway.admin(path)).send();
    for path in ["/semblance/policies/files", "/semblance/policies/history", "/semblance/policies/history/1"] {
        assert_eq!(get(path).await.unwrap().status(), 401, "{path}");
    }
    let (status, _) = put(&gateway, &json!({"files": {"default.toml": MINUTE}, "base_revision": ""})).await;
    assert_eq!(status, 401);
    assert_eq!(fs::read_to_string(gateway.policy_file("default.toml")).unwrap(), DAY);
}
