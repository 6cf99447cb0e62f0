//! Infisical over its HTTP API, with Universal Auth: one login, then lists and single writes.
//!
//! Answers are read into memory that is wiped. Errors carry a status and what was asked, never a body.

use std::time::Duration;

use ctxnode_config::Environment;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::parse::wipe;
use super::{MachineFile, Secret, SecretError, Secrets, credentials, is_name};

/// Infisical's own cloud.
const CLOUD: &str = "https://app.infisical.com";
/// How long the login may take.
const LOGIN_LIMIT: Duration = Duration::from_secs(15);
/// How long any other call may take.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// How long a look may take whether the service is there.
const LOOK_LIMIT: Duration = Duration::from_secs(5);
/// The name under which failures of the service are reported.
const NAME: &str = "infisical";

/// A logged-in client.
#[derive(Debug)]
pub struct Api {
    client: reqwest::Client,
    base: String,
    project: String,
    token: Secret,
}

/// Makes an HTTP client with the one TLS stack of this program.
///
/// # Errors
/// When the system's certificates cannot be loaded.
pub fn client() -> Result<reqwest::Client, reqwest::Error> {
    // A second installation is refused and changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // A redirect could carry the token to another place.
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).user_agent("ctxnode").build()
}

/// Where the service is.
fn base(env: &Environment, machine: &MachineFile) -> String {
    let url = machine.infisical.url.as_deref().or_else(|| env.get("INFISICAL_API_URL")).unwrap_or(CLOUD);
    url.trim_end_matches('/').trim_end_matches("/api").to_owned()
}

/// Whether the service answers at all, whatever it says.
pub(super) async fn is_reachable(env: &Environment, machine: &MachineFile) -> bool {
    let Ok(client) = client() else { return false };
    client.get(format!("{}/api/status", base(env, machine))).timeout(LOOK_LIMIT).send().await.is_ok()
}

impl Api {
    /// Logs in with the credentials of this machine.
    ///
    /// # Errors
    /// When there are none, the project is not named, or the service refuses.
    pub async fn login(env: &Environment, machine: &MachineFile) -> Result<Self, SecretError> {
        let action = "login";
        let found = credentials(env).await?.ok_or_else(|| SecretError::NoCredentials(super::universal::file(env)))?;
        let project = machine.infisical.project.clone().or_else(|| env.get("INFISICAL_PROJECT_ID").map(str::to_owned));
        let project = project.ok_or(SecretError::NoProject)?;
        let base = base(env, machine);
        let client = client().map_err(|_| SecretError::Unreachable { action })?;
        let body = json!({ "clientId": found.id.expose(), "clientSecret": found.secret.expose() });
        let request = client.post(format!("{base}/api/v1/auth/universal-auth/login"));
        let mut answer = send(request, Some(body), action, LOGIN_LIMIT).await?;
        let token = answer["accessToken"].as_str().map(|token| Secret::new(token.to_owned()));
        wipe(&mut answer);
        let token = token.ok_or(SecretError::Malformed { program: NAME.to_owned(), line: 1, column: 0 })?;
        Ok(Self { client, base, project, token })
    }

    /// Returns all secrets of a path, those that it imports below its own.
    ///
    /// # Errors
    /// When the service refuses, or its answer has another form or no entry.
    pub async fn list(&self, path: &str, env: &str) -> Result<Secrets, SecretError> {
        let query = [
            ("projectId", self.project.as_str()),
            ("environment", env),
            ("secretPath", path),
            ("includeImports", "true"),
            ("expandSecretReferences", "true"),
        ];
        let query = query.map(|(name, value)| format!("{name}={}", escaped(value))).join("&");
        let request = self.request(Method::GET, &format!("/api/v4/secrets?{query}"));
        let mut answer = send(request, None, "list", CALL_LIMIT).await?;
        let secrets = read_list(&answer);
        wipe(&mut answer);
        let secrets = secrets.ok_or(SecretError::Malformed { program: NAME.to_owned(), line: 1, column: 0 })?;
        if secrets.is_empty() {
            return Err(SecretError::NoEntries { program: NAME.to_owned() });
        }
        Ok(secrets)
    }

    /// Stores a secret; `known` says whether it is there already.
    ///
    /// # Errors
    /// When the service refuses.
    pub async fn store(
        &self,
        path: &str,
        env: &str,
        name: &str,
        value: &Secret,
        known: bool,
    ) -> Result<(), SecretError> {
        if !is_name(name) {
            return Err(SecretError::BadName(name.to_owned()));
        }
        let method = if known { Method::PATCH } else { Method::POST };
        let body = json!({
            "projectId": self.project, "environment": env, "secretPath": path, "secretValue": value.expose(),
        });
        let request = self.request(method, &format!("/api/v4/secrets/{name}"));
        let mut answer = send(request, Some(body), "store", CALL_LIMIT).await?;
        wipe(&mut answer);
        Ok(())
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base)).bearer_auth(self.token.expose())
    }
}

async fn send(
    request: reqwest::RequestBuilder,
    body: Option<Value>,
    action: &'static str,
    limit: Duration,
) -> Result<Value, SecretError> {
    let mut request = request.timeout(limit);
    if let Some(mut body) = body {
        request = request.header("content-type", "application/json").body(body.to_string());
        wipe(&mut body);
    }
    let failed = |error: &reqwest::Error| match error.is_timeout() {
        true => SecretError::TooSlow { program: NAME.to_owned(), limit },
        false => SecretError::Unreachable { action },
    };
    let response: Response = request.send().await.map_err(|error| failed(&error))?;
    let status = response.status().as_u16();
    if status != 200 {
        return Err(SecretError::Refused { action, status });
    }
    let bytes = Zeroizing::new(response.bytes().await.map_err(|error| failed(&error))?.to_vec());
    serde_json::from_slice(&bytes).map_err(|error| SecretError::Malformed {
        program: NAME.to_owned(),
        line: error.line(),
        column: error.column(),
    })
}

fn read_list(answer: &Value) -> Option<Secrets> {
    let own = answer["secrets"].as_array()?;
    let imports = answer["imports"].as_array().into_iter().flatten();
    let imported = imports.flat_map(|import| import["secrets"].as_array().into_iter().flatten());
    // A path's own secret beats an imported one of that name.
    let pairs = imported.chain(own).map(|entry| {
        let (name, value) = (entry["secretKey"].as_str()?, entry["secretValue"].as_str()?);
        (is_name(name) && !value.contains('\0')).then(|| (name.to_owned(), Secret::new(value.to_owned())))
    });
    pairs.collect()
}

/// Escapes a value of a query.
fn escaped(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|b| if keep(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_below_a_paths_own_secrets() {
        let answer = json!({
            "secrets": [{ "secretKey": "A", "secretValue": "own" }],
            "imports": [{ "secrets": [{ "secretKey": "A", "secretValue": "x" }, { "secretKey": "B", "secretValue": "y" }] }],
        });
        let secrets = read_list(&answer).unwrap();
        let values: Vec<_> = secrets.pairs().map(|(name, secret)| (name, secret.expose())).collect();
        assert_eq!(values, [("A", "own"), ("B", "y")]);
        assert!(read_list(&json!({ "message": "x" })).is_none());
    }

    #[test]
    fn a_query_cannot_be_left() {
        assert_eq!(escaped("/a b&c=é"), "%2Fa%20b%26c%3D%C3%A9");
    }
}
