//! Stand-ins for services on loopback: one thread that answers HTTP/1.1, one request per connection.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value, json};

/// A request: method, path with query, the bearer's token, and body.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) token: String,
    pub(crate) path: String,
    pub(crate) body: String,
}

/// A service; it ends when dropped.
pub(crate) struct Service {
    address: String,
    thread: Option<JoinHandle<()>>,
    stop: Arc<Mutex<bool>>,
}

impl Service {
    pub(crate) fn start(mut answer: impl FnMut(&Request) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = Arc::new(Mutex::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if *told.lock().unwrap() {
                    return;
                }
                if let Some(request) = read(&stream) {
                    let (status, body) = answer(&request);
                    let head =
                        format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                    let mut stream = stream;
                    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
                }
            }
        });
        Self { address, thread: Some(thread), stop }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        *self.stop.lock().unwrap() = true;
        // Wakes the thread.
        let _ = TcpStream::connect(&self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut length, mut token) = (0, String::new());
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            break;
        }
        let (name, value) = header.split_once(':')?;
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "authorization" => token = value.trim().trim_start_matches("Bearer ").to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, token, path, body: String::from_utf8(body).ok()? })
}

/// The secrets that a stand-in of Infisical holds: by path, then by name.
pub(crate) type Vault = Arc<Mutex<BTreeMap<String, BTreeMap<String, String>>>>;

/// Starts a stand-in of Infisical that knows one machine identity, and notes what it saw.
pub(crate) fn infisical(vault: &Vault, client_secret: &'static str, seen_in_argv: &Arc<Mutex<Vec<String>>>) -> Service {
    let (vault, seen) = (Arc::clone(vault), Arc::clone(seen_in_argv));
    Service::start(move |request| {
        if request.path == "/api/v1/auth/universal-auth/login" {
            seen.lock().unwrap().extend(super::support::processes_with(client_secret.as_bytes()));
            let body: Value = serde_json::from_str(&request.body).unwrap();
            let good = body["clientId"] == "machine" && body["clientSecret"] == client_secret;
            return if good { (200, json!({ "accessToken": "t0ken" }).to_string()) } else { (401, "{}".to_owned()) };
        }
        let mut vault = vault.lock().unwrap();
        match request.method.as_str() {
            "GET" => {
                let query = request.path.split_once('?').map_or("", |(_, query)| query).replace("%2F", "/");
                let path = query.split('&').find_map(|pair| pair.strip_prefix("secretPath=")).unwrap_or_default();
                let found = vault.get(path).cloned().unwrap_or_default();
                let list: Vec<Value> =
                    found.iter().map(|(name, value)| json!({ "secretKey": name, "secretValue": value })).collect();
                (200, json!({ "secrets": list, "imports": [] }).to_string())
            }
            _ => {
                let body: Value = serde_json::from_str(&request.body).unwrap();
                let name = request.path.rsplit('/').next().unwrap_or_default().to_owned();
                let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
                let folder = vault.entry(text("secretPath")).or_default();
                // As the real one: a write of what exists needs PATCH, of what does not POST.
                if folder.contains_key(&name) != (request.method == "PATCH") {
                    return (400, "{}".to_owned());
                }
                folder.insert(name, text("secretValue"));
                (200, "{}".to_owned())
            }
        }
    })
}
