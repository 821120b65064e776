use super::*;

const GOOD: &str = r#"
    spin_manifest_version = 2
    [application]
    name = "links"
    version = "1.0.0"
    authors = ["A. Author"]
    [application.trigger.http]
    base = "/v1"
    [variables]
    token = { required = true, secret = true }
    host = { default = "example.com", description = "where links lead" }
    [[trigger.http]]
    route = "/links/..."
    component = "links"
    [[trigger.http]]
    route = "/go/:name"
    component = "links"
    executor = { type = "http" }
    [[trigger.http]]
    id = "hello"
    route = "/hello"
    component = { source = "hello.wasm" }
    [component.links]
    source = "links.wasm"
    description = "short links"
    allowed_outbound_hosts = ["https://{{ host }}", "http://localhost:8080"]
    key_value_stores = ["default"]
    variables = { token = "{{ token }}", greeting = "hello, {{ host }}" }
    environment = { LOG = "debug" }
    [component.links.build]
    command = ["cargo build", "true"]
    watch = ["src"]
    [component.links.tool.kinglet]
    limits = { memory = "64MiB", timeout = "5s" }
    reuse = 10
    [component.links.tool.other]
    anything = true
"#;

fn token() -> Variables {
    Variables::new([("token".to_owned(), "hunter2".to_owned())], [])
}

fn parse_with(text: &str, variables: &Variables) -> Result<Manifest, String> {
    assert!(is_spin(text));
    parse(text, Path::new("/app"), "spin.toml", variables).map_err(|error| error.to_string())
}

#[test]
fn a_whole_manifest() {
    let manifest = parse_with(GOOD, &token()).unwrap();
    assert_eq!(manifest.app.name, "links");
    let names: Vec<_> = manifest.functions.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["links", "hello"]);
    let links = manifest.function("links").unwrap();
    let routes: Vec<_> = links.on.http.iter().map(Route::to_string).collect();
    assert_eq!(routes, ["/v1/links/...", "/v1/go/{name}"]);
    assert!(links.on.spin_headers);
    assert_eq!(links.on.reuse, Some(10));
    assert_eq!(links.limits.memory.0, 64 << 20);
    assert_eq!(links.grants.keyvalue, ["default"]);
    let granted: Vec<_> = links.grants.http.iter().map(ToString::to_string).collect();
    assert_eq!(granted, ["https://example.com", "http://localhost:8080"]);
    assert_eq!(links.config["token"], "hunter2");
    assert_eq!(links.config["greeting"], "hello, example.com");
    assert_eq!(links.environment["LOG"], "debug");
    assert_eq!(links.spin_build.as_deref(), Some("cargo build && true"));
    let hello = manifest.function("hello").unwrap();
    assert_eq!(hello.component, Path::new("hello.wasm"));
    let [note] = manifest.notes.as_slice() else {
        panic!("{:?}", manifest.notes);
    };
    assert_eq!(
        note,
        "nothing is done here with application.version, application.authors, component.links.description, \
         component.links.build, component.links.tool.other"
    );
}

#[test]
fn values_come_from_the_command_then_the_environment_then_the_default() {
    let environment = [
        (
            "SPIN_VARIABLE_TOKEN".to_owned(),
            "of environment".to_owned(),
        ),
        ("SPIN_VARIABLE_HOST".to_owned(), "b.org".to_owned()),
        ("TOKEN".to_owned(), "of somebody else".to_owned()),
    ];
    let given = [("host".to_owned(), "c.org".to_owned())];
    let manifest = parse_with(GOOD, &Variables::new(given, environment)).unwrap();
    let config = &manifest.function("links").unwrap().config;
    assert_eq!(config["token"], "of environment");
    assert_eq!(config["greeting"], "hello, c.org");

    let error = parse_with(GOOD, &Variables::default()).unwrap_err();
    for said in [
        "variables.token",
        "SPIN_VARIABLE_TOKEN",
        "--variable token=VALUE",
    ] {
        assert!(error.contains(said), "{error}");
    }
    parse_with(GOOD, &Variables::unneeded()).unwrap();
    let unknown = Variables::new([("tokne".to_owned(), String::new())], []);
    let error = parse_with(GOOD, &unknown).unwrap_err();
    assert!(
        error.contains("\"tokne\"") && error.contains("variables.token"),
        "{error}"
    );
}

/// One line each: what replaces what, and what the error must say.
#[test]
fn what_cannot_be_served_is_refused_by_its_name() {
    for (old, new, says) in [
        (
            "spin_manifest_version = 2",
            "spin_manifest_version = 1",
            "version 1",
        ),
        (
            "spin_manifest_version = 2",
            "spin_version = \"1\"",
            "version \"1\"",
        ),
        (
            "name = \"links\"",
            "name = \"my links\"",
            "application.name: \"my links\"",
        ),
        ("name = \"links\"", "nmae = \"links\"", "spin.toml:4:"),
        ("base = \"/v1\"", "bsae = \"/v1\"", "bsae"),
        (
            "[variables]",
            "[[trigger.redis]]\nchannel = \"c\"\ncomponent = \"links\"\n[variables]",
            "trigger.redis",
        ),
        ("required = true, ", "", "variables.token"),
        ("host = { default", "Host = { default", "variables.Host"),
        (
            "route = \"/hello\"",
            "route = \"/a/*/b\"",
            "trigger.http \"hello\": route",
        ),
        (
            "route = \"/go/:name\"",
            "route = \"/:\"",
            "trigger.http, the 2.",
        ),
        (
            "route = \"/hello\"",
            "route = { private = false }",
            "private = true",
        ),
        (
            "component = { source = \"hello.wasm\" }",
            "component = \"no\"",
            "[component.no]",
        ),
        (
            "component = { source = \"hello.wasm\" }",
            "",
            "names no component",
        ),
        (
            "component = { source = \"hello.wasm\" }",
            "component = { sorce = \"h\" }",
            "sorce",
        ),
        (
            "component = { source = \"hello.wasm\" }",
            "static_response = { body = \"hi\" }",
            "static_response",
        ),
        ("type = \"http\"", "type = \"wagi\"", "\"wagi\""),
        (
            "source = \"links.wasm\"",
            "source = { url = \"https://a\", digest = \"sha256:0\" }",
            "component.links.source",
        ),
        (
            "description = \"short",
            "files = [\"a\"]\ndescription = \"short",
            "component.links.files",
        ),
        (
            "description = \"short",
            "sqlite_databases = [\"default\"]\ndescription = \"short",
            "component.links.sqlite_databases",
        ),
        (
            "description = \"short",
            "ai_models = [\"llama\"]\ndescription = \"short",
            "component.links.ai_models",
        ),
        (
            "description = \"short",
            "allowed_http_hosts = [\"a\"]\ndescription = \"short",
            "component.links.allowed_http_hosts",
        ),
        (
            "description = \"short",
            "dependencies = { \"a:b\" = \"1\" }\ndescription = \"short",
            "component.links.dependencies",
        ),
        (
            "description = \"short",
            "colour = \"red\"\ndescription = \"short",
            "colour",
        ),
        ("{{ host }}\", \"http", "{{ no }}\", \"http", "\"no\""),
        (
            "https://{{ host }}\"",
            "redis://{{ host }}:1\"",
            "which is \"redis://example.com:1\"",
        ),
        (
            "key_value_stores = [\"default\"]",
            "key_value_stores = [\"a b\"]",
            "\"a b\"",
        ),
        (
            "variables = { token",
            "variables = { Token",
            "component.links.variables.Token",
        ),
        ("LOG = \"debug\"", "\"A=B\" = \"c\"", "\"A=B\""),
        ("timeout = \"5s\"", "timeout = \"0s\"", "limits.timeout"),
        ("reuse = 10", "resue = 10", "resue"),
        ("route = \"/hello\"", "route = \"/go/:other\"", "same route"),
    ] {
        assert!(GOOD.contains(old), "{old}");
        let error = parse_with(&GOOD.replacen(old, new, 1), &token()).unwrap_err();
        assert!(error.contains(says), "{new}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn every_problem_is_told_at_once() {
    let text = GOOD
        .replacen("name = \"links\"", "name = \"my links\"", 1)
        .replacen(
            "description = \"short",
            "files = [\"a\"]\nai_models = [\"b\"]\ndescription = \"short",
            1,
        );
    let error = parse_with(&text, &Variables::default()).unwrap_err();
    for said in [
        "application.name",
        "component.links.files",
        "component.links.ai_models",
        "variables.token",
    ] {
        assert!(error.contains(said), "{said}: {error}");
    }
}

#[test]
fn what_nothing_wakes_is_noted() {
    let text = GOOD.replacen("route = \"/hello\"", "route = { private = true }", 1)
        + "\n[component.spare]\nsource = \"spare.wasm\"\nallowed_outbound_hosts = [\"what\"]\n";
    let manifest = parse_with(&text, &token()).unwrap();
    assert!(manifest.function("hello").is_none() && manifest.function("spare").is_none());
    assert!(
        manifest.notes[0].contains("private"),
        "{:?}",
        manifest.notes
    );
    assert!(
        manifest.notes[1].contains("component.spare"),
        "{:?}",
        manifest.notes
    );
    let wide = GOOD.replacen("https://{{ host }}", "https://*", 1);
    let manifest = parse_with(&wide, &token()).unwrap();
    assert!(
        manifest.notes[0].contains("own network"),
        "{:?}",
        manifest.notes
    );
}

#[test]
fn a_manifest_of_kinglet_is_none_of_spin() {
    for text in [
        "[app]\nname = \"a\"\n# spin_manifest_version = 2",
        "[app]\nname = \"spin_manifest_version\"",
        "spin_manifest_version = ",
        "",
    ] {
        assert!(!is_spin(text), "{text}");
    }
}
