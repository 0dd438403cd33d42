use clap::{CommandFactory, Parser};

use super::*;
use crate::{index::partitions::Engine, otel::Sampling, wire::Family};

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    serve: ServeArgs,
}

fn file(text: &str) -> ConfigFile {
    let (file, problems) = ConfigFile::parse("semblance.toml", text);
    assert_eq!(problems, []);
    file
}

/// Resolves without the real environment.
fn config(args: &ServeArgs, text: &str, variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let (file, problems) = ConfigFile::parse("semblance.toml", text);
    let environment = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    resolve::resolve(args, file, problems, &environment)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn from_file(text: &str) -> Result<Config, Vec<String>> {
    config(&ServeArgs::default(), text, &[])
}

#[test]
fn defaults_are_those_that_the_help_promises() {
    let config = from_file("").unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.admin_listen.to_string(), "127.0.0.1:8081");
    assert_eq!((config.upstream, config.anthropic_upstream), (UpstreamChoice::Providers, None));
    assert_eq!(config.data_dir, PathBuf::from("semblance-data"));
    assert_eq!((config.policies, config.admin_token), (None, None));
    assert_eq!(config.limits.body_bytes, 32 << 20);
    assert_eq!(config.limits.cacheable_body_bytes, 1 << 20);
    assert_eq!(config.limits.answer_bytes, 4 << 20);
    assert_eq!((config.hot_tier_bytes, config.disk_budget_bytes), (64 << 20, 10 << 30));
    assert_eq!(config.timeouts, Settings::default());
    assert_eq!(config.drain, Duration::from_secs(10));
    assert_eq!(config.embedder.timeout, Duration::from_secs(1));
    assert_eq!(config.matcher, MatcherConfig { floor: 0.50, min_similarity: 0.90, candidates: 8 });
    assert_eq!(config.client_gone, ClientGone::Finish);
    assert!(config.allow_anonymous && !config.require_keys && config.require_done);
}

#[test]
fn a_file_sets_everything_it_names() {
    let config = from_file(
        r#"
        listen = "0.0.0.0:9000"
        upstream = "http://localhost:11434/v1"
        anthropic_upstream = "demo"
        store_tool_calls = true
        hot_tier_bytes = "1GiB"
        temperature_ceiling = 0
        limits = { body_bytes = 2_000_000, requests = 10 }
        log.level = "warn"
        client_gone = "cancel"
        [embedder]
        kind = "remote"
        url = "http://localhost:1/v1"
        model = "m"
        [matcher]
        floor = 0.6
        "#,
    )
    .unwrap();
    assert_eq!(config.listen.to_string(), "0.0.0.0:9000");
    assert_eq!(config.upstream, UpstreamChoice::Url("http://localhost:11434/v1".to_owned()));
    assert_eq!((config.anthropic_upstream, config.store_tool_calls), (Some(UpstreamChoice::Demo), true));
    assert_eq!(config.hot_tier_bytes, 1 << 30);
    assert_eq!((config.limits.body_bytes, config.limits.requests), (2_000_000, 10));
    assert_eq!((config.log.level.as_str(), config.client_gone), ("warn", ClientGone::Cancel));
    assert!(matches!(config.embedder.kind, EmbedderKind::Remote { api_key: None, .. }));
    assert!(config.temperature_ceiling.abs() < f64::EPSILON);
    assert!((config.matcher.floor - 0.6).abs() < f32::EPSILON);
    assert!(!config.allow_anonymous, "a gateway on the network does not serve anonymous callers unless told to");
}

#[test]
fn a_flag_wins_over_the_file_and_an_empty_one_is_none() {
    let args = ServeArgs {
        listen: Some("127.0.0.1:0".to_owned()),
        upstream: Some(String::new()),
        hot_tier_bytes: Some("8MiB".to_owned()),
        ..ServeArgs::default()
    };
    let config = config(&args, "listen = \"127.0.0.1:1\"\nupstream = \"demo\"\ndrain_ms = 5\n", &[]).unwrap();
    assert_eq!(config.listen.port(), 0);
    assert_eq!(config.upstream, UpstreamChoice::Demo);
    assert_eq!((config.hot_tier_bytes, config.drain), (8 << 20, Duration::from_millis(5)));
}

#[test]
fn all_problems_are_told_at_once_with_their_places() {
    let args = ServeArgs {
        admin_listen: Some("9090".to_owned()),
        matcher_floor: Some("high".to_owned()),
        ..ServeArgs::default()
    };
    let text = "lisen = \"x\"\nupstream = \"api.openai.com\"\n\n[limits]\nbody_bytes = true\nbody_byte = 3\n\n[log]\nlevel = \"loud\"\nformat = \"xml\"\n";
    let problems = config(&args, text, &[]).unwrap_err();
    let has = |wanted: &str| assert!(problems.iter().any(|p| p.starts_with(wanted)), "{wanted} in {problems:#?}");
    has("semblance.toml:1: lisen: unknown key; did you mean listen?");
    has("semblance.toml:2: upstream: \"api.openai.com\" is not a URL; write it like https://");
    has("semblance.toml:5: limits.body_bytes: true is not a number of bytes");
    has("semblance.toml:6: limits.body_byte: unknown key; did you mean limits.body_bytes?");
    has("semblance.toml:9: log.level: \"loud\" is not a log level");
    has("semblance.toml:10: log.format: \"xml\" is unknown; write text or json");
    has(
        "--admin-listen or SEMBLANCE_ADMIN_LISTEN: admin_listen: \"9090\" is not an address; write host and port, such as 127.0.0.1:8081",
    );
    has("--matcher-floor or SEMBLANCE_MATCHER_FLOOR: matcher.floor: \"high\" is not a number");
    assert_eq!(problems.len(), 8, "{problems:#?}");
}

#[test]
fn a_file_that_is_no_toml_names_the_line() {
    let problems = from_file("listen = \"127.0.0.1:1\"\nupstream = \n").unwrap_err();
    assert!(problems[0].starts_with("semblance.toml:2: not TOML: "), "{problems:?}");
    let problems = from_file("listen = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"\n").unwrap_err();
    assert!(problems[0].starts_with("semblance.toml:2: not TOML: duplicate key"), "{problems:?}");
}

#[test]
fn an_unknown_key_is_refused_wherever_it_stands() {
    for (text, wanted) in [
        ("[limts]\nbody_bytes = 1\n", "semblance.toml:1: limts: unknown key; did you mean limits?"),
        ("body_bytes = 1\n", "semblance.toml:1: body_bytes: unknown key; did you mean limits.body_bytes?"),
        ("[upstream]\nurl = \"x\"\n", "semblance.toml:1: upstream: is one value and not a section"),
        ("limits = 3\n", "semblance.toml:1: limits: is a section; write [limits] and its keys below"),
        ("[[log]]\nlevel = \"info\"\n", "semblance.toml:1: log: is a section"),
        ("zzzzzz = 1\n", "semblance.toml:1: zzzzzz: unknown key; remove it"),
        ("listen = 8080\n", "semblance.toml:1: listen: 8080 is not a text in quotes"),
    ] {
        let problems = from_file(text).unwrap_err();
        assert!(problems[0].starts_with(wanted), "{text}: {problems:?}");
    }
}

#[test]
fn an_admin_listener_on_the_network_needs_a_token() {
    let problems = from_file("admin_listen = \"0.0.0.0:8081\"\n").unwrap_err();
    assert!(problems[0].contains("set admin_token"), "{problems:?}");
    let config = from_file("admin_listen = \"0.0.0.0:8081\"\nadmin_token = \"s3cret\"\n").unwrap();
    assert_eq!(config.admin_token.as_ref().unwrap().expose(), "s3cret");
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    for (text, wanted) in [
        ("listen = \"127.0.0.1:8081\"\n", "also where apps connect"),
        ("[limits]\nbody_bytes = \"1MiB\"\ncacheable_body_bytes = \"2MiB\"\n", "above limits.body_bytes"),
        ("[matcher]\nfloor = 0.95\n", "above matcher.min_similarity"),
        ("[matcher]\nmin_similarity = 1.5\n", "not between 0 and 1"),
        ("[embedder]\nkind = \"remote\"\n", "is needed for a remote embedder"),
        ("[embedder]\nmodel = \"m\"\n", "is for a remote embedder"),
        ("[timeouts]\nconnect_ms = 0\n", "not between 1 and"),
        ("upstream = \"https://me:pw@h/v1\"\n", "user or password"),
        ("tenant = \" \"\n", "is empty"),
    ] {
        let problems = from_file(text).unwrap_err();
        assert!(problems.iter().any(|p| p.contains(wanted)), "{text}: {problems:?}");
    }
}

#[test]
fn telemetry_goes_nowhere_unless_somebody_says_where() {
    let none = ServeArgs::default();
    assert_eq!(from_file("").unwrap().otlp, None);
    let other = [("OTEL_SERVICE_NAME", "x"), ("OTEL_TRACES_SAMPLER", "nonsense")];
    assert_eq!(config(&none, "", &other).unwrap().otlp, None, "these alone name no collector");
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
    let found = |text: &str, variables: &[_]| config(&none, text, variables).unwrap().otlp.map(|otlp| otlp.endpoint);
    assert_eq!(found("", &[endpoint]).as_deref(), Some("http://collector:4318"));
    let ours = "otlp = \"https://otlp.example/otlp\"\n";
    assert_eq!(found(ours, &[endpoint]).as_deref(), Some("https://otlp.example/otlp"), "our own setting wins");
    assert_eq!(found(ours, &[("OTEL_SDK_DISABLED", "true")]), None);
    let problems = config(&none, "otlp = \"localhost:4318\"\n", &[]).unwrap_err();
    assert!(
        problems[0].starts_with("semblance.toml:1: otlp: \"localhost:4318\" is not a URL; write it like http://127"),
        "{problems:?}"
    );
}

#[test]
fn opentelemetrys_own_variables_hold() {
    let variables = [
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20c2VjcmV0, x-scope=a%3Db"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=from-attributes,deployment.environment.name=production"),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ("OTEL_METRICS_EXPORTER", "none"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "5000"),
    ];
    let resolved = |further: &[(&str, &str)]| {
        let all: Vec<_> = variables.iter().chain(further).copied().collect();
        config(&ServeArgs::default(), "otlp = \"http://127.0.0.1:4318\"\n", &all)
    };
    let otlp = resolved(&[]).unwrap().otlp.unwrap();
    let headers: Vec<(&str, &str)> =
        otlp.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!(headers, [("authorization", "Basic c2VjcmV0"), ("x-scope", "a=b")]);
    assert!(!format!("{otlp:?}").contains("c2VjcmV0"));
    assert_eq!(otlp.service_name, "from-attributes");
    assert_eq!(otlp.resource, [("deployment.environment.name".to_owned(), "production".to_owned())]);
    assert_eq!(otlp.sampling, Sampling { share: 0.25, follow_client: true });
    assert_eq!((otlp.traces, otlp.metrics, otlp.metric_interval), (true, false, Duration::from_secs(5)));
    assert_eq!(resolved(&[("OTEL_SERVICE_NAME", "mine")]).unwrap().otlp.unwrap().service_name, "mine");
}

#[test]
fn what_opentelemetrys_variables_say_wrong_is_told_by_their_names() {
    for (name, value, wanted) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "write http/protobuf"),
        ("OTEL_TRACES_SAMPLER", "sometimes", "write always_on, always_off or traceidratio"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "c2VjcmV0", "is not name=value"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a b=c2VjcmV0", "make no header"),
        ("OTEL_RESOURCE_ATTRIBUTES", "=x", "is not name=value"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0", "is not between 1 and"),
    ] {
        let problems =
            config(&ServeArgs::default(), "otlp = \"http://127.0.0.1:4318\"\n", &[(name, value)]).unwrap_err();
        assert!(problems[0].starts_with(&format!("{name}: otlp: ")) && problems[0].contains(wanted), "{problems:?}");
        assert!(!problems[0].contains("c2VjcmV0"), "{problems:?}");
    }
    let share = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "2")];
    let problems = config(&ServeArgs::default(), "otlp = \"http://127.0.0.1:4318\"\n", &share).unwrap_err();
    assert!(problems[0].starts_with("OTEL_TRACES_SAMPLER_ARG: otlp: \"2\" is not between 0 and 1"), "{problems:?}");
}

#[test]
fn a_certificate_and_its_key_come_together_and_are_looked_at_before_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let files = crate::tls::tests::written_in(&dir);
    let [cert, key] = [&files.cert, &files.key].map(|path| path.display().to_string());
    let args = |cert: Option<&str>, key: Option<&str>| ServeArgs {
        tls_cert: cert.map(str::to_owned),
        tls_key: key.map(str::to_owned),
        ..ServeArgs::default()
    };
    assert_eq!(config(&args(Some(&cert), Some(&key)), "", &[]).unwrap().tls, Some(files));
    assert_eq!(from_file("").unwrap().tls, None);
    for (args, place, what) in [
        (args(Some(&cert), None), "--tls-key or SEMBLANCE_TLS_KEY: tls.key: ", "is needed beside tls.cert"),
        (args(None, Some(&key)), "--tls-cert or SEMBLANCE_TLS_CERT: tls.cert: ", "is needed beside tls.key"),
        (args(Some("/nowhere"), Some(&key)), "--tls-cert or SEMBLANCE_TLS_CERT: tls.cert: ", "cannot be read"),
        (args(Some(&cert), Some(&cert)), "--tls-key or SEMBLANCE_TLS_KEY: tls.key: ", "no private key"),
    ] {
        let problems = config(&args, "tenant = \"\"\n", &[]).unwrap_err();
        assert!(problems.iter().any(|p| p.starts_with(place) && p.contains(what)), "{what}: {problems:?}");
        assert_eq!(problems.len(), 2, "the empty tenant is told as well: {problems:?}");
    }
}

#[test]
fn origins_are_a_list_in_the_file_and_have_commas_between_them_in_a_flag() {
    let args =
        ServeArgs { cors_origins: Some("https://a.example, http://localhost:3000".to_owned()), ..ServeArgs::default() };
    let flagged = config(&args, "cors_origins = [\"*\"]\n", &[]).unwrap().cors_origins;
    assert_eq!(flagged, ["https://a.example", "http://localhost:3000"]);
    assert_eq!(from_file("cors_origins = [\"*\"]\n").unwrap().cors_origins, ["*"]);
    assert!(from_file("").unwrap().cors_origins.is_empty() && from_file("cors_origins = []\n").is_ok());
    for (wrong, what) in [
        ("[\"https://a.example/\"]", "is not an origin"),
        ("[\"https://A.example\"]", "is not an origin"),
        ("[\"a.example\"]", "is not an origin"),
        ("[\"null\"]", "is not an origin"),
        ("\"*\"", "is not a list of texts in quotes"),
        ("[1]", "is not a list of texts in quotes"),
    ] {
        let problems = from_file(&format!("cors_origins = {wrong}\n")).unwrap_err();
        assert!(
            problems[0].starts_with("semblance.toml:1: cors_origins: ") && problems[0].contains(what),
            "{problems:?}"
        );
    }
}

#[test]
fn two_random_ports_are_not_the_same_port() {
    assert!(from_file("listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n").is_ok());
    assert_eq!(from_file("listen = \"localhost:81\"\n").unwrap().listen.to_string(), "127.0.0.1:81");
}

#[test]
fn the_remote_embedders_key_is_read_from_the_variable_that_is_named() {
    let text = "[embedder]\nkind = \"remote\"\nurl = \"http://h/v1\"\nmodel = \"m\"\napi_key_env = \"KEY\"\n";
    let config_with = |variables: &[(&str, &str)]| config(&ServeArgs::default(), text, variables);
    let EmbedderKind::Remote { api_key, .. } = config_with(&[("KEY", "k1")]).unwrap().embedder.kind else {
        panic!("the embedder is remote")
    };
    assert_eq!(api_key.unwrap().expose(), "k1");
    let problems = config_with(&[]).unwrap_err();
    assert!(problems[0].contains("variable \"KEY\" is not set"), "{problems:?}");
}

#[test]
fn no_color_counts_as_never_unless_a_colour_is_asked_for() {
    let color = |text: &str| config(&ServeArgs::default(), text, &[("NO_COLOR", "1")]).unwrap().log.color;
    assert_eq!(color(""), crate::telemetry::Color::Never);
    assert_eq!(color("log.color = \"always\"\n"), crate::telemetry::Color::Always);
}

#[test]
fn a_named_file_must_exist_and_the_default_one_need_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.toml");
    let (_, problems) = ConfigFile::find(Some(&path));
    assert!(problems[0].what.contains("--config"));
    std::fs::write(&path, "listen = \"127.0.0.1:5\"\n").unwrap();
    let (file, problems) = ConfigFile::find(Some(&path));
    assert_eq!(problems, []);
    assert_eq!(file.listen.unwrap().value, "127.0.0.1:5");
}

#[test]
fn key_flag_and_variable_have_the_same_name() {
    let command = Cli::command();
    for key in ConfigFile::KEYS {
        let name = key.replace(['.', '_'], "-");
        let argument = command.get_arguments().find(|argument| argument.get_long() == Some(&name));
        let variable = argument.unwrap_or_else(|| panic!("--{name}")).get_env().unwrap().to_str().unwrap();
        assert_eq!(variable, format!("SEMBLANCE_{}", name.replace('-', "_").to_uppercase()));
    }
    command.debug_assert();
}

#[test]
fn a_shared_store_is_its_url_and_what_only_it_has_is_refused_without_one() {
    let config = Config::resolve(&ServeArgs::default(), file("")).unwrap();
    assert_eq!(config.store, StoreChoice::Sqlite);
    let text = "store = \"rediss+sentinel://:s3cret@a,b/main\"\n[cluster]\nlease_ms = 250\ndegraded = \"serve-lease\"";
    let config = Config::resolve(&ServeArgs::default(), file(text)).unwrap();
    assert!(!format!("{config:?}").contains("s3cret"));
    let StoreChoice::Shared(shared) = config.store else { panic!("{:?}", config.store) };
    assert_eq!(shared.address.to_string(), "rediss+sentinel://a:26379,b:26379/main");
    assert_eq!((shared.lease, shared.serves_lease, shared.replicas), (Duration::from_millis(250), true, 0));
    assert_eq!((shared.prefix.as_str(), shared.max_age), ("semblance", Duration::from_secs(30 * 24 * 3600)));
    for (text, key) in [
        ("store = \"http://s3cret\"", "store"),
        ("store = \"redis://a\"\n[cluster]\nprefix = \"a b\"", "cluster.prefix"),
        ("store = \"redis://a\"\n[cluster]\nlease_ms = 1", "cluster.lease_ms"),
        ("[cluster]\nlease_ms = 1000", "cluster.lease_ms"),
        ("[cluster]\nprefix = \"a\"", "cluster.prefix"),
    ] {
        let problems = Config::resolve(&ServeArgs::default(), file(text)).unwrap_err();
        assert_eq!(problems.iter().map(|problem| problem.key.as_str()).collect::<Vec<_>>(), [key], "{text}");
        assert!(!format!("{problems:?}").contains("s3cret"));
    }
}

#[test]
fn flags_take_values_as_typed() {
    let cli = Cli::try_parse_from(["x", "--listen", "127.0.0.1:0", "--upstream", "demo", "--json"]).unwrap();
    assert!(cli.serve.json);
    let config = Config::resolve(&cli.serve, file("")).unwrap();
    assert_eq!((config.listen.port(), config.upstream), (0, UpstreamChoice::Demo));
}

#[test]
fn the_short_help_shows_only_what_most_people_need() {
    let help = Cli::command().render_help().to_string();
    assert!(help.contains("--upstream") && help.contains("--data-dir"));
    assert!(!help.contains("--matcher-floor"));
    assert!(Cli::command().render_long_help().to_string().contains("--matcher-floor"));
}

/// A file with these tables, and the variable `KEY` set.
fn upstreams(text: &str) -> Result<Vec<NamedUpstream>, Vec<String>> {
    config(&ServeArgs::default(), text, &[("KEY", "sk-own"), ("BAD", "a\nb")]).map(|config| config.upstreams)
}

#[test]
fn named_upstreams_are_read_in_the_files_order() {
    let text = r#"
        timeouts.idle_ms = 7
        [upstreams.azure]
        url = "https://example.openai.azure.com/openai/v1"
        families = ["chat", "responses"]
        paths = ["/v1/audio/*"]
        models = ["gpt-4o*", "o3"]
        api_key_env = "KEY"
        api_key_header = "api-key"
        fallback = "spare"
        connect_ms = 5
        [log]
        level = "warn"
        [upstreams.spare]
        url = "demo"
        http2_prior_knowledge = true
    "#;
    let named = upstreams(text).unwrap();
    let [azure, spare] = named.as_slice() else { panic!("{named:?}") };
    assert_eq!((azure.name.as_str(), spare.name.as_str()), ("azure", "spare"));
    assert_eq!(azure.choice, UpstreamChoice::Url("https://example.openai.azure.com/openai/v1".to_owned()));
    assert_eq!(azure.route.families, [Family::Chat, Family::Responses]);
    assert_eq!((azure.route.paths.as_slice(), azure.route.models.len()), (&["/v1/audio/*".to_owned()][..], 2));
    assert_eq!(azure.own_key, OwnKey::new(Some("api-key"), "sk-own").ok());
    assert_eq!((azure.fallback, spare.fallback), (Some(1), None));
    let ms = Duration::from_millis;
    assert_eq!((azure.transport.timeouts.connect, azure.transport.timeouts.idle), (ms(5), ms(7)));
    assert_eq!((&spare.choice, spare.route.is_open()), (&UpstreamChoice::Demo, true));
    assert!(spare.transport.http2_prior_knowledge && !azure.transport.http2_prior_knowledge);
    assert!(!format!("{named:?}").contains("sk-own"), "no log shows a key");
}

#[test]
fn every_problem_of_a_named_upstream_is_told_with_its_line() {
    let text = "upstreams.x = 1\n[upstreams.a]\nurl = \"localhost:1\"\nfamilies = [\"chat\", \"chats\"]\nmodles = [\"m\"]\nmodels = \"m\"\n\
        paths = [\"v1/x\"]\napi_key_env = \"NONE\"\nfallback = \"c\"\nidle_ms = 0\nfirst_byte_ms = { a = 1 }\n[upstreams.b]\nfamilies = []\n\
        api_key_header = \"x-api-key\"\nca_file = \"/nowhere.pem\"\nhttp2_prior_knowledge = \"yes\"\n[upstreams.\"b c\"]\nurl = \"demo\"\n";
    let problems = upstreams(text).unwrap_err();
    let has = |wanted: &str| assert!(problems.iter().any(|p| p.starts_with(wanted)), "{wanted} in {problems:#?}");
    has("semblance.toml:1: upstreams.x: is a section of tables; write [upstreams.NAME]");
    has("semblance.toml:3: upstreams.a.url: \"localhost:1\" is not a URL; write it like");
    has("semblance.toml:4: upstreams.a.families: \"chats\" is no protocol family; write chat or messages or ");
    has("semblance.toml:5: upstreams.a.modles: unknown key; did you mean models?");
    has("semblance.toml:6: upstreams.a.models: \"m\" is not a list of texts in quotes");
    has("semblance.toml:7: upstreams.a.paths: \"v1/x\" is not a path; begin it with /");
    has("semblance.toml:8: upstreams.a.api_key_env: variable \"NONE\" is not set");
    has("semblance.toml:9: upstreams.a.fallback: \"c\" is no [upstreams.NAME] of this file; write b or ");
    has("semblance.toml:10: upstreams.a.idle_ms: 0 ms is not between 1 and");
    has("semblance.toml:11: upstreams.a.first_byte_ms: ");
    has("semblance.toml:12: upstreams.b.url: is needed");
    has("semblance.toml:13: upstreams.b.families: holds nothing");
    has("semblance.toml:14: upstreams.b.api_key_header: is for a key of the gateway's own; set api_key_env");
    has("semblance.toml:15: upstreams.b.ca_file: /nowhere.pem cannot be read");
    has("semblance.toml:16: upstreams.b.http2_prior_knowledge: \"yes\" is not true or false");
    has("semblance.toml:17: upstreams: \"b c\" is no name");
    assert_eq!(problems.len(), 16, "{problems:#?}");
}

#[test]
fn a_fallback_must_be_one_that_may_see_the_clients_credential() {
    let chain = |first: &str, second: &str| {
        upstreams(&format!("[upstreams.a]\nfallback = \"b\"\n{first}\n[upstreams.b]\n{second}\n"))
            .err()
            .unwrap_or_default()
    };
    let (here, there) = ("url = \"https://h/v1\"", "url = \"https://other/v1\"");
    for (first, second) in [
        (here.to_owned(), "url = \"https://h/other/v1\"".to_owned()),
        (here.to_owned(), "url = \"demo\"".to_owned()),
        (here.to_owned(), format!("{there}\napi_key_env = \"KEY\"")),
        (here.to_owned(), format!("{there}\nforward_credentials = true")),
        (format!("{here}\napi_key_env = \"KEY\""), format!("{there}\napi_key_env = \"KEY\"")),
    ] {
        assert_eq!(chain(&first, &second), Vec::<String>::new(), "{first} {second}");
    }
    let wanted = "semblance.toml:2: upstreams.a.fallback: b would be sent credentials that clients meant for a; set upstreams.b.api_key_env (or upstreams.b.forward_credentials = true";
    for (first, second) in [
        (here.to_owned(), there.to_owned()),
        (here.to_owned(), "url = \"http://h/v1\"".to_owned()),
        (here.to_owned(), format!("{there}\nforward_credentials = false")),
        ("url = \"demo\"".to_owned(), there.to_owned()),
        (format!("{here}\napi_key_env = \"KEY\""), "url = \"https://h/v1\"".to_owned()),
    ] {
        let problems = chain(&first, &second);
        assert!(problems.len() == 1 && problems[0].starts_with(wanted), "{first} {second}: {problems:?}");
    }
    let both = chain(here, &format!("{there}\napi_key_env = \"KEY\"\nforward_credentials = true"));
    assert!(both.len() == 1 && both[0].contains("has no meaning beside api_key_env"), "{both:?}");
}

#[test]
fn a_circle_of_fallbacks_is_told_once() {
    let table = |name: &str, fallback: &str| format!("[upstreams.{name}]\nurl = \"demo\"\nfallback = \"{fallback}\"\n");
    let text = [table("in", "a"), table("a", "b"), table("b", "c"), table("c", "a"), table("self", "self")].concat();
    let problems = upstreams(&text).unwrap_err();
    assert_eq!(
        problems,
        [
            "semblance.toml:6: upstreams.a.fallback: leads in a circle: a -> b -> c -> a",
            "semblance.toml:15: upstreams.self.fallback: leads in a circle: self -> self",
        ]
    );
}

#[test]
fn a_key_that_no_header_can_carry_is_told() {
    let with = |lines: &str| upstreams(&format!("[upstreams.a]\nurl = \"https://h\"\n{lines}\n")).unwrap_err();
    let problems = with("api_key_env = \"BAD\"");
    assert!(
        problems[0].starts_with("semblance.toml:3: upstreams.a.api_key_env: names a variable whose"),
        "{problems:?}"
    );
    let problems = with("api_key_env = \"KEY\"\napi_key_header = \"x-key\"");
    assert!(problems[0].starts_with("semblance.toml:4: upstreams.a.api_key_header: \"x-key\" is no header for a key; write authorization or x-api-key or"), "{problems:?}");
}

#[test]
fn authorities_are_for_tls_and_must_be_certificates() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "no certificate").unwrap();
    let with =
        |url: &str| upstreams(&format!("[upstreams.a]\nurl = \"{url}\"\nca_file = {:?}\n", file.path())).unwrap_err();
    assert!(with("https://h")[0].contains("holds no certificate in PEM form"));
    assert!(with("http://h")[0].contains("is for an upstream whose url begins with https://"));
}

#[test]
fn the_readmes_example_is_a_settings_file() {
    let readme = include_str!("../../README.md");
    let example = readme.split("```toml\n").find(|text| text.starts_with("[upstreams.")).unwrap();
    let example = example.split("```").next().unwrap();
    let keys = [("AZURE_KEY", "k1"), ("OPENAI_KEY", "k2")];
    let named = config(&ServeArgs::default(), example, &keys).unwrap().upstreams;
    let names: Vec<&str> = named.iter().map(|named| named.name.as_str()).collect();
    assert_eq!((names.as_slice(), named[0].fallback), (&["azure", "openai", "house"][..], Some(1)));
}

#[test]
fn an_encryption_key_is_read_and_never_shown_and_an_empty_one_is_no_plain_database() {
    let text = "ab".repeat(32);
    let read = from_file(&format!("encryption_key = \"{text}\"")).unwrap();
    assert_eq!(read.encryption_key, Some(EncryptionKey::parse(&text).unwrap()));
    assert!(!format!("{read:?}").contains("abab"));
    let problems = from_file("encryption_key = \"s3cret\"").unwrap_err();
    assert!(problems[0].contains("is not a key") && !problems[0].contains("s3cret"), "{problems:?}");
    let args = ServeArgs { encryption_key: Some(String::new()), ..ServeArgs::default() };
    let problems = config(&args, "", &[]).unwrap_err();
    assert!(problems[0].contains("encryption_key") && problems[0].contains("is empty"), "{problems:?}");
}

#[test]
fn the_engine_of_the_index_is_chosen_by_name_and_brings_its_own_size() {
    assert_eq!(from_file("").unwrap().index, partitions::Settings::of(Engine::Cells));
    assert_eq!(from_file("[index]\nengine = \"hnsw\"").unwrap().index, partitions::Settings::of(Engine::Hnsw));
    let args = ServeArgs { index_engine: Some("hnsw".to_owned()), ..ServeArgs::default() };
    let read = config(&args, "[index]\nengine = \"cells\"\nseal_at = 5_000", &[]).unwrap();
    assert_eq!(read.index, partitions::Settings { engine: Engine::Hnsw, seal_at: 5_000 });
    let problems = from_file("[index]\nengine = \"flat\"").unwrap_err();
    assert_eq!(problems, ["semblance.toml:2: index.engine: \"flat\" is unknown; write cells or hnsw"]);
}
