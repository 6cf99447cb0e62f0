//! The scan's tests. The secrets here are made up; prefixes are joined at run time, so that no scanner trips over them.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const BODY: &str = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0";
const HEX: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn kinds(text: &str) -> Vec<SecretKind> {
    scan_all(text).into_iter().map(|found| found.kind).collect()
}

fn samples() -> Vec<(SecretKind, String)> {
    vec![
        (SecretKind::AwsAccessKey, format!("{}{}", "AKIA", "Z7QWERTY23ASDFGH")),
        (SecretKind::AwsAccessKey, format!("{}{}", "ASIA", "Z7QWERTY23ASDFGH")),
        (SecretKind::GithubToken, format!("{}{}", "ghp_", &BODY[..36])),
        (SecretKind::GithubToken, format!("{}{}", "ghs_", "a".repeat(36))),
        (SecretKind::GithubToken, format!("{}{}", "github_pat_", "11ABCDEFG0abcdefghijkl_XYZ")),
        (SecretKind::SlackToken, format!("{}{}", "xoxb-", "123456789012-abcdefABCDEF")),
        (SecretKind::AnthropicKey, format!("{}{}", "sk-ant-", "api03-AbCdEf_0123456789-xyzXYZ")),
        (SecretKind::OpenAiKey, format!("{}{}", "sk-", BODY)),
        (SecretKind::OpenAiKey, format!("{}{}", "sk-proj-", BODY)),
        (SecretKind::GoogleKey, format!("{}{}", "AIza", &BODY[..35])),
        (SecretKind::StripeLiveKey, format!("{}{}", "sk_live_", &BODY[..24])),
        (SecretKind::StripeLiveKey, format!("{}{}", "rk_live_", &BODY[..24])),
        (SecretKind::Jwt, "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P".into()),
        (SecretKind::PrivateKey, pem("RSA PRIVATE KEY")),
        (SecretKind::PrivateKey, pem("OPENSSH PRIVATE KEY")),
        (SecretKind::PrivateKey, pem("PGP PRIVATE KEY BLOCK")),
    ]
}

fn pem(label: &str) -> String {
    format!("-----BEGIN {label}-----\nMIIEowIBAAKCAQEA\n-----END {label}-----")
}

#[test]
fn n_13_every_known_shape_is_found_with_kind_and_place() {
    for (kind, secret) in samples() {
        for before in ["", "use ", "Schlüssel: \"", "密钥", "x=", "\\n("] {
            let text = format!("first line\n{before}{secret}, then");
            let found = scan(&text).unwrap_or_else(|| panic!("{kind} after {before:?}"));
            let column = before.chars().count() + 1;
            assert_eq!(found, Suspicion { kind, line: 2, column }, "{before:?}");
        }
    }
}

#[test]
fn n_13_a_bare_hash_passes_and_one_after_a_word_like_token_does_not() {
    for fine in [HEX.to_owned(), format!("sha256: {HEX}"), format!("commit {HEX}"), format!("public_key = {HEX}")] {
        assert_eq!(kinds(&fine), [], "{fine}");
    }
    for word in ["token ", "Token: ", "API key `", "CTXNODE_TOKEN=", "\"secret\": \"", "Bearer ", "my-secret='"] {
        assert_eq!(kinds(&format!("{word}{HEX}")), [SecretKind::CtxnodeToken], "{word}");
    }
}

#[test]
fn n_13_random_assigned_values_are_found_and_placeholders_pass() {
    for secret in [
        "password = tr0ub4dor&3xyz",
        "DB_PASSWORD=9vX2kLq81mZpW",
        "\"api_key\": \"9vX2kLq81mZpW\"",
        "client_secret: '9vX2kLq81mZpW'",
        "apiKey=9vX2kLq81mZpW;",
        "my-api-key: 9vX2kLq81mZpW",
    ] {
        assert_eq!(kinds(secret), [SecretKind::Assignment], "{secret}");
    }
    for fine in [
        "password = <your password>",
        "password = your-password-123",
        "API_KEY=$MY_API_KEY_2",
        "token: ${{ secrets.GITHUB_TOKEN2 }}",
        "secret = xxxxxxxxxxxx1",
        "password: example1234567",
        "token = process.env.TOKEN_12",
        "the token: everything-about-tokens",
        "token: aaaaaaaaaaaa1",
        "password: short1",
        "max_tokens = 100000000000",
        "token = \"/etc/keys/a1b2c3d4e5\"",
        "secret: sha256:9f86d081884c7d65",
        "the password 9vX2kLq81mZpW stands without a separator",
        "sk-folding-cube-animation-with-long-name",
        "task-a1B2c3D4e5F6g7H8i9J0k1L2m3N4",
        "-----BEGIN PUBLIC KEY-----\nMIIE\n-----END PUBLIC KEY-----",
        "ghp_short",
    ] {
        assert_eq!(kinds(fine), [], "{fine}");
    }
}

#[test]
fn h_26_redaction_leaves_nothing_of_the_value() {
    for (kind, secret) in samples() {
        let clean = redact(&format!("a {secret} b"));
        assert_eq!(clean, format!("a [redacted: {kind}] b"));
        assert_eq!(kinds(&clean), []);
    }
    assert_eq!(redact("password = 9vX2kLq81mZpW, ok"), "password = [redacted: assigned secret], ok");
    let long = format!("secret={}", "9vX2kLq81mZpW".repeat(100));
    assert_eq!(redact(&long), "secret=[redacted: assigned secret]");
    let cut_off = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA";
    assert_eq!(redact(cut_off), "[redacted: private key]");
}

#[test]
fn n_13_a_refusal_names_the_place_and_never_the_value() {
    let secret = format!("ghp_{}", &BODY[..36]);
    let fields = scan_fields([("title".to_owned(), "fine"), ("next_steps[3]".to_owned(), secret.as_str())]);
    assert_eq!(fields.len(), 1);
    assert_eq!(fields[0].field, "next_steps[3]");
    assert!(fields[0].message.contains("GitHub token") && !fields[0].message.contains("ghp_"));

    let value = json!({"db": {"password": "9vX2kLq81mZpW", "host": "db1"}, "list": [secret], (secret.clone()): 1});
    let errors = scan_value("meta", &value);
    let places: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
    assert_eq!(places, ["meta.db.password", "meta.list[0]", "meta.(key 3)"]);
    assert!(errors.iter().all(|error| !error.message.contains(BODY)));
}

#[test]
fn several_findings_of_one_text_keep_their_own_places() {
    let secret = format!("ghp_{}", &BODY[..36]);
    let found = scan_all(&format!("{secret}\n\nü {secret} {secret}"));
    let places: Vec<(usize, usize)> = found.iter().map(|found| (found.line, found.column)).collect();
    assert_eq!(places, [(1, 1), (3, 3), (3, 44)]);
}

#[test]
fn ordinary_documents_of_the_corpus_pass() {
    // The corpus is large and lies outside the repository; where it is absent this check has nothing to read.
    let Some(root) = option_env!("CTXNODE_CORPUS") else { return };
    let mut folders = vec![std::path::PathBuf::from(root)];
    let (mut read, mut suspicious) = (0_usize, Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "md") {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                read += 1;
                suspicious.extend(scan(&text).map(|found| (path, found)));
            }
        }
    }
    assert!(suspicious.len() * 500 <= read, "{} of {read}: {suspicious:#?}", suspicious.len());
}

proptest! {
    #[test]
    fn redaction_changes_exactly_the_suspected_texts(text in "(.|\n|key|token|=|ghp_|sk-|eyJ|-----BEGIN ){0,60}") {
        let clean = redact(&text);
        prop_assert_eq!(scan(&text).is_some(), clean != text);
        prop_assert_eq!(scan_all(&text).first().copied(), scan(&text));
    }

    #[test]
    fn a_secret_is_found_wherever_it_stands(before in "[^A-Za-z0-9_=:-]{0,20}", which in 0_usize..16) {
        let (kind, secret) = samples().swap_remove(which);
        let text = format!("{before}{secret}");
        prop_assert_eq!(kinds(&text), vec![kind]);
    }
}
