//! The same functions on other hosts, `wasmtime serve`, wasmCloud and Spin: status, headers that
//! the function sets, and bytes are the same.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::{App, guest};
use crate::host::{Host, PATIENCE};
use crate::http::{address, up};
use crate::new::{fresh, made, with_cargo};

/// A program that the set-up installed.
fn installed(variable: &str) -> Option<PathBuf> {
    let program = std::env::var_os(variable).map(PathBuf::from);
    if program.is_none() {
        assert!(
            std::env::var_os("KINGLET_TEST_FULL").is_none(),
            "{variable} isn't set; `cargo xtask test --full` installs what it names"
        );
        eprintln!("skipped: {variable} isn't set; `cargo xtask test` installs what it names");
    }
    program
}

/// `wasmtime serve`, where the set-up has it.
fn wasmtime() -> Option<PathBuf> {
    installed("KINGLET_TEST_WASMTIME")
}

/// wasmCloud, likewise.
fn wash() -> Option<PathBuf> {
    installed("KINGLET_TEST_WASH")
}

/// Another host, which runs a component.
struct Elsewhere {
    name: &'static str,
    host: Host,
    address: SocketAddr,
}

impl Elsewhere {
    /// Starts a command, whose standard output isn't records, and waits until it says this and
    /// listens.
    fn start(name: &'static str, mut command: Command, ready: &str, given: Option<u16>) -> Self {
        let mut quiet = Command::new("sh");
        quiet
            .args(["-c", "exec \"$0\" \"$@\" >&2"])
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(folder) = command.get_current_dir() {
            quiet.current_dir(folder);
        }
        for (name, value) in command.get_envs() {
            quiet.envs(value.map(|value| (name, value)));
        }
        command = quiet;
        let mut host = Host::start(command);
        host.warned(ready);
        let address = match given {
            Some(port) => SocketAddr::from(([127, 0, 0, 1], port)),
            None => address(&host),
        };
        Self {
            name,
            host,
            address,
        }
    }

    /// `wasmtime serve` with these options.
    fn wasmtime(program: &Path, component: &Path, options: &[&str]) -> Self {
        let mut command = Command::new(program);
        command
            .arg("serve")
            .args(options)
            // Each request with a fresh instance, as here.
            .args(["--max-instance-reuse-count=1", "--addr", "127.0.0.1:0"])
            .arg(component);
        Self::start("wasmtime serve", command, "http://", None)
    }

    /// `wash dev` in a folder of its own, with this configuration of the workload.
    fn wasmcloud(program: &Path, app: &App, component: &Path, workload: &str) -> Self {
        let port = free_port();
        let component = component.display();
        app.put(
            "wash/.wash/config.yaml",
            format!(
                "build:\n  command: \"true\"\n  component_path: {component}\n\
                 dev:\n  address: 127.0.0.1:{port}\n{workload}"
            ),
        );
        let home = app.path("wash");
        let mut command = Command::new(program);
        command
            .arg("dev")
            .current_dir(&home)
            // It keeps its settings there, and asks nobody for a newer version.
            .env("HOME", &home)
            .env("XDG_CONFIG_HOME", &home);
        Self::start(
            "wasmCloud",
            command,
            "listening for HTTP requests",
            Some(port),
        )
    }

    /// `spin up` of the `spin.toml` in an app's folder.
    fn spin(program: &Path, app: &App) -> Self {
        let port = free_port();
        let mut command = Command::new(program);
        command
            .args(["up", "--listen", &format!("127.0.0.1:{port}")])
            .current_dir(app.path(""));
        Self::start("Spin", command, "Available Routes", Some(port))
    }

    /// Asks the same of a host and of this one.
    #[track_caller]
    fn answers_as(&self, ours: &Host, request: &[u8]) -> Answer {
        let line = request.split(|byte| *byte == b'\r').next().unwrap();
        let line = String::from_utf8_lossy(line);
        let own = ask(address(ours), request);
        assert!(own.body.is_some(), "{line}: {own:?}");
        let other = ask(self.address, request);
        assert_eq!(own, other, "{} {line}", self.name);
        own
    }
}

/// A port that was free just now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Spin's program, where it is on the path: no registry has it.
fn spin() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut folders = std::env::split_paths(&path);
    let found = folders.find_map(|folder| Some(folder.join("spin")).filter(|file| file.is_file()));
    if found.is_none() {
        eprintln!("skipped: `spin` isn't on the path");
    }
    found
}

/// What a client makes of a response.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answer {
    /// 0 where the connection was closed without a head.
    status: u16,
    /// Without those that the server sets.
    headers: BTreeMap<String, Vec<String>>,
    /// None where it has no good end.
    body: Option<Vec<u8>>,
    trailers: Vec<String>,
}

/// Of a connection, or of the server; `kinglet-effects` is for ours, and isn't sent on by it.
const OF_SERVER: [&str; 5] = [
    "connection",
    "content-length",
    "date",
    "kinglet-effects",
    "transfer-encoding",
];

fn ask(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // One that answers before it has all closes, maybe.
    let _ = stream.write_all(request);
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response);
    let Some(end) = response.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Answer::default();
    };
    let head = String::from_utf8(response[..end].to_vec()).unwrap();
    let rest = &response[end + 4..];
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        let values = headers.entry(name.to_lowercase()).or_default();
        values.push(value.trim().to_owned());
    }
    let (body, trailers) = if headers.contains_key("transfer-encoding") {
        match unchunked(rest) {
            Some((body, trailers)) => (Some(body), trailers),
            None => (None, Vec::new()),
        }
    } else {
        let told = headers.get("content-length");
        let told = told.map_or(0, |told| told[0].parse::<usize>().unwrap());
        let bodyless = request.starts_with(b"HEAD ") || matches!(status, "204" | "304");
        let whole = bodyless || rest.len() == told;
        (whole.then(|| rest.to_vec()), Vec::new())
    };
    headers.retain(|name, _| !OF_SERVER.contains(&name.as_str()));
    Answer {
        status: status.parse().unwrap(),
        headers,
        body,
        trailers,
    }
}

/// The body and trailers; none where the last piece is missing.
fn unchunked(mut rest: &[u8]) -> Option<(Vec<u8>, Vec<String>)> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let length = std::str::from_utf8(&rest[..end]).ok()?;
        let length = usize::from_str_radix(length, 16).ok()?;
        rest = &rest[end + 2..];
        if length == 0 {
            let trailers = std::str::from_utf8(rest).ok()?;
            let trailers = trailers.split("\r\n").filter(|line| !line.is_empty());
            return Some((body, trailers.map(str::to_owned).collect()));
        }
        body.extend(rest.get(..length)?);
        rest = rest.get(length + 2..)?;
    }
}

/// A request line and headers, and a body.
fn request(line: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "{line} HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    )
    .into_bytes();
    request.extend(body);
    request
}

/// What both are asked, of each guest.
fn requests(guest: &str) -> Vec<Vec<u8>> {
    let mut random = vec![0; 1 << 20];
    random
        .iter_mut()
        .zip(0_u32..)
        .for_each(|(byte, at)| *byte = (at.wrapping_mul(2_654_435_761) >> 24) as u8);
    let get = |path: &str| request(&format!("GET {path}"), "", b"");
    let head = |path: &str| request(&format!("HEAD {path}"), "", b"");
    let chunked = |path: &str, rest: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\nTE: trailers\r\nTrailer: x-sum\r\n\
             Transfer-Encoding: chunked\r\n\r\n{rest}"
        )
        .into_bytes()
    };
    if guest == "sdk-http" {
        return vec![
            get("/hello"),
            get("/show?a=1&b=x+%26&c"),
            request("PURGE /show", "X-Test-A: 1\r\nx-test-a: 2\r\n", b"body"),
            request("POST /json", "", b"[1, 2, 39]"),
            request("POST /json", "", b"[1, x]"),
            request("POST /upper", "", "wren é".as_bytes()),
            request("POST /upper", "", b"\xff"),
            request("POST /echo", "", &random),
            chunked("/echo", "4\r\nfour\r\n3\r\nsix\r\n0\r\nx-sum: 42\r\n\r\n"),
            get("/large"),
            get("/headers"),
            get("/none"),
            get("/none-with-body"),
            get("/unchanged"),
            get("/teapot"),
            get("/reject"),
            get("/retry"),
            get("/other"),
            get("/bad-header"),
            get("/bad-status"),
            get("/stream"),
            get("/missing"),
            head("/hello"),
            head("/large"),
            head("/stream"),
            head("/none"),
        ];
    }
    vec![
        get("/teapot"),
        get("/empty"),
        get("/any/path?with=query"),
        request("POST /echo", "", &random),
        chunked("/echo", "4\r\nfour\r\n0\r\n\r\n"),
        request("POST /count", "", &random),
        chunked("/trailers", "4\r\nfour\r\n0\r\nx-sum: 42\r\n\r\n"),
        get("/large"),
        get("/download/3000000"),
        get("/exact"),
        head("/exact"),
        head("/large"),
    ]
}

#[test]
fn functions_answer_the_same_under_wasmtime_serve() {
    let Some(program) = wasmtime() else { return };
    for name in ["sdk-http", "http-probe", "http-probe-p3"] {
        let app = probe(name);
        let ours = up(&app);
        let options = ["-S", "cli,p3", "-W", "component-model-async"];
        let theirs = Elsewhere::wasmtime(&program, &guest(name), &options);
        for request in requests(name) {
            theirs.answers_as(&ours, &request);
        }
        // Failures are never success, wherever it runs.
        let failing = match name {
            "sdk-http" => ["/panic", "/stream-fails"],
            _ => ["/panic-midway", "/short"],
        };
        for path in failing {
            let request = request(&format!("GET {path}"), "", b"");
            for at in [address(&ours), theirs.address] {
                let answer = ask(at, &request);
                let taken = answer.status < 400 && answer.body.is_some();
                // Wasmtime itself takes what there is for all of it, where a guest of 0.2 or 0.3 panics.
                let known = at == theirs.address && name != "sdk-http";
                assert!(known || !taken, "{name} {path}: {answer:?}");
            }
        }
        ours.stop();
        theirs.host.kill();
    }
}

#[test]
fn functions_answer_the_same_on_wasmcloud() {
    let Some(program) = wash() else { return };
    let app = probe("sdk-http");
    let ours = up(&app);
    let theirs = Elsewhere::wasmcloud(&program, &app, &guest("sdk-http"), "");
    for request in requests("sdk-http") {
        theirs.answers_as(&ours, &request);
    }
    ours.stop();
    theirs.host.kill();
}

/// An application of one guest, which has all requests.
fn probe(name: &str) -> App {
    App::new(&format!(
        r#"
        [[function]]
        name = "probe"
        component = "guest:{name}"
        on = {{ http = "/..." }}
        limits = {{ memory = "64MiB", timeout = "60s" }}
        "#
    ))
}

/// Builds with `kinglet build`, and has every function checked.
fn build(app: &App) {
    with_cargo(|| app.command(&["build"])).expect(0);
    app.ok(&["check"]);
}

/// Puts a manifest into a folder of its own, which leaves all routes to a component.
fn put_routed(app: &App, folder: &str, component: &str) {
    app.put(
        &format!("{folder}/kinglet.toml"),
        format!(
            r#"
            [app]
            name = "routed"
            [[function]]
            name = "routed"
            component = "../{component}"
            on = {{ http = "/..." }}
            grants = {{ keyvalue = ["default"] }}
            config = {{ greeting = "good day" }}
            "#
        ),
    );
}

/// Starts a host with one of an app's manifests.
fn up_with(app: &App, manifest: &str) -> Host {
    let listen = ["--listen", "127.0.0.1:0"];
    let mut command = app.command(&["up", "--json", "--manifest", manifest]);
    command.args(listen);
    let mut host = Host::start(command);
    host.said("ready");
    host
}

fn get(path: &str, headers: &str) -> Vec<u8> {
    request(&format!("GET {path}"), headers, b"")
}

/// The function of users' first minutes runs everywhere as it was built.
#[test]
fn a_new_function_runs_on_every_host() {
    let app = made("warm-2", "http");
    build(&app);
    let component = app.path("warm-2.wasm");
    for target in ["spin", "wasmtime", "wasmcloud"] {
        let said = app.ok(&["check", "--target", target, "warm-2.wasm"]);
        assert!(said.contains("it fits the world"), "{said}");
    }
    // A client can't say what the route's parameter is.
    let forged = "spin-path-match-celsius: 0\r\n";
    let answered = [
        (get("/fahrenheit/21.5", ""), 200, "70.7\n"),
        (get("/fahrenheit/21.5", forged), 200, "70.7\n"),
        (get("/fahrenheit/-40?digits=3", ""), 200, "-40.000\n"),
        (get("/fahrenheit/2%2E5", ""), 200, "36.5\n"),
        (get("/fahrenheit/warm", ""), 400, "invalid float literal\n"),
        (request("HEAD /fahrenheit/21.5", "", b""), 200, ""),
    ];
    let refused = [
        get("/", ""),
        get("/fahrenheit", ""),
        get("/fahrenheit/", ""),
        get("/fahrenheit/1/2", ""),
        get("/celsius/1", forged),
    ];
    // By the route of the manifest, by that of a `spin.toml`, and by its own.
    put_routed(&app, "all", "warm-2.wasm");
    for manifest in ["kinglet.toml", "spin.toml", "all/kinglet.toml"] {
        let ours = up_with(&app, manifest);
        for (request, status, body) in &answered {
            let answer = ask(address(&ours), request);
            assert_eq!(answer.status, *status, "{manifest}");
            assert_eq!(answer.body.as_deref(), Some(body.as_bytes()), "{manifest}");
        }
        for request in &refused {
            assert_eq!(ask(address(&ours), request).status, 404, "{manifest}");
        }
        ours.stop();
    }
    let ours = up_with(&app, "all/kinglet.toml");
    let mut others = Vec::new();
    if let Some(program) = wasmtime() {
        let options = ["-S", "cli"];
        others.push(Elsewhere::wasmtime(&program, &component, &options));
    }
    if let Some(program) = wash() {
        others.push(Elsewhere::wasmcloud(&program, &app, &component, ""));
    }
    if let Some(program) = spin() {
        others.push(Elsewhere::spin(&program, &app));
    }
    for theirs in others {
        for (request, ..) in &answered {
            theirs.answers_as(&ours, request);
        }
        for request in &refused {
            // Spin has routes itself, and answers what it doesn't route in words of its own.
            assert_eq!(ask(theirs.address, request).status, 404, "{}", theirs.name);
        }
        theirs.host.kill();
    }
    ours.stop();
}

/// A function of what hosts have in different versions: settings, values by key and logs.
const SETTINGS: &str = r#"
use kinglet_sdk::{Config, Failure, KeyValue, Request, Response};

#[kinglet_sdk::http("/greet/{name}", "/count/{key}", "/keys")]
fn handle(request: Request) -> Result<Response, Failure> {
    kinglet_sdk::info!("asked for {}", request.path());
    if let Some(name) = request.parameter("name") {
        let greeting: String = Config::require("greeting")?;
        return Ok(Response::text(format!("{greeting} {name}\n")));
    }
    let values = KeyValue::open("default")?;
    if let Some(key) = request.parameter("key") {
        let mut found = Vec::new();
        for _ in 0..2 {
            values.set(key, "x".repeat(values.get(key)?.map_or(0, |value| value.len()) + 1))?;
            found.push(values.get(key)?.map_or(0, |value| value.len()));
        }
        return Ok(Response::text(format!("{found:?}\n")));
    }
    values.set("b", "2")?;
    values.set("a", "1")?;
    let mut keys = values.keys().collect::<Result<Vec<_>, _>>()?;
    // A host may still have those of requests before.
    keys.retain(|key| key.len() == 1);
    keys.sort();
    Ok(Response::text(format!("{keys:?}\n")))
}
"#;

/// A host with other versions of interfaces has a component of its own.
#[test]
fn a_function_with_settings_and_values_is_built_for_each_host() {
    let app = fresh("settings", "http");
    app.put("src/lib.rs", SETTINGS);
    let targets = ["spin", "wasmtime", "wasmcloud"];
    let manifest = app.read("kinglet.toml");
    let manifest = manifest.replace(
        "source = \".\"",
        "source = \".\"\ntargets = [\"kinglet\", \"spin\", \"wasmtime\", \"wasmcloud\"]",
    );
    app.put("kinglet.toml", manifest);
    build(&app);
    for target in targets {
        let own = ["check", "--target", target, "settings.wasm"];
        app.kinglet(&own).expect(1);
        let file = format!("settings.{target}.wasm");
        let said = app.ok(&["check", "--target", target, &file]);
        assert!(said.contains("it fits the world"), "{said}");
    }
    let expected = [
        ("/greet/wren", "good day wren\n"),
        ("/count/a", "[1, 2]\n"),
        ("/count/b%20c", "[1, 2]\n"),
        ("/keys", "[\"a\", \"b\"]\n"),
        ("/", "not found\n"),
    ];
    let answers = |name: &str, at: SocketAddr| {
        for (path, expected) in expected {
            let answer = ask(at, &get(path, ""));
            let body = answer.body.as_deref().map(String::from_utf8_lossy);
            assert_eq!(body.as_deref(), Some(expected), "{name} {path}");
        }
    };
    // Kinglet has every version.
    for component in ["kinglet", "spin", "wasmtime", "wasmcloud"] {
        let file = match component {
            "kinglet" => "settings.wasm".to_owned(),
            target => format!("settings.{target}.wasm"),
        };
        put_routed(&app, component, &file);
        let ours = up_with(&app, &format!("{component}/kinglet.toml"));
        answers(component, address(&ours));
        ours.stop();
    }
    let mut others = Vec::new();
    if let Some(program) = wasmtime() {
        let options = [
            "-S",
            "cli,config,keyvalue",
            "-S",
            "config-var=greeting=good day",
        ];
        let component = app.path("settings.wasmtime.wasm");
        others.push(Elsewhere::wasmtime(&program, &component, &options));
    }
    if let Some(program) = wash() {
        let workload = "workload:\n  config:\n    greeting: good day\n";
        let component = app.path("settings.wasmcloud.wasm");
        others.push(Elsewhere::wasmcloud(&program, &app, &component, workload));
    }
    if let Some(program) = spin() {
        app.put("spin.toml", SPIN_TOML);
        others.push(Elsewhere::spin(&program, &app));
    }
    for theirs in others {
        answers(theirs.name, theirs.address);
        theirs.host.kill();
    }
}

const SPIN_TOML: &str = r#"
spin_manifest_version = 2

[application]
name = "settings"

[variables]
greeting = { default = "good day" }

[[trigger.http]]
route = "/..."
component = "settings"

[component.settings]
source = "settings.spin.wasm"
key_value_stores = ["default"]

[component.settings.variables]
greeting = "{{ greeting }}"
"#;

/// A function with a bucket is Kinglet's alone, and its build says so.
#[test]
fn a_target_that_hasnt_what_a_function_uses_ends_the_build() {
    let app = fresh("results", "http");
    app.put(
        "src/lib.rs",
        r#"
        use kinglet_sdk::{Bucket, Failure, Request, Response};

        #[kinglet_sdk::http]
        fn handle(request: Request) -> Result<Response, Failure> {
            Ok(Response::bytes(Bucket::open("results")?.read(request.path())?, "text/plain"))
        }
        "#,
    );
    let manifest = app.read("kinglet.toml");
    let manifest = manifest.replace("source = \".\"", "source = \".\"\ntargets = \"spin\"");
    app.put("kinglet.toml", manifest);
    let output = with_cargo(|| app.command(&["build"])).expect(2);
    output.says(&[
        "\"results\" doesn't run on Spin 4.0",
        "Kinglet alone has buckets",
    ]);
    assert!(!app.path("results.spin.wasm").exists());
}
