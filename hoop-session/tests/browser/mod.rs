//! A headless browser, driven by the protocol of its developer tools (<https://chromedevtools.github.io/devtools-protocol/>) over
//! a pipe.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Seconds after which the browser is ended, whatever it does.
const PATIENCE: &str = "100";

/// A browser with one page.
pub struct Browser {
    child: Child,
    commands: File,
    answers: BufReader<File>,
    session: String,
    number: u64,
    /// What was told unasked.
    pub events: Vec<Value>,
    _directory: TempDir,
}

impl Browser {
    /// Starts it with an empty page of that size.
    pub fn start(width: u32, height: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (commands, answers) = (
            directory.path().join("commands"),
            directory.path().join("answers"),
        );
        let made = Command::new("mkfifo")
            .args([&commands, &answers])
            .status()
            .unwrap();
        assert!(made.success());
        // File descriptors 3 and 4 are what --remote-debugging-pipe reads and writes.
        let script = r#"exec timeout "$3" chromium --headless=new --no-sandbox --disable-gpu \
            --disable-dev-shm-usage --no-first-run --user-data-dir="$4" --remote-debugging-pipe about:blank 3<"$1" 4>"$2""#;
        let child = Command::new("sh")
            .args(["-c", script, "sh"])
            .args([&commands, &answers])
            .arg(PATIENCE)
            .arg(directory.path().join("profile"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let commands = OpenOptions::new().write(true).open(commands).unwrap();
        let answers = File::open(answers).unwrap();
        let mut browser = Self {
            child,
            commands,
            answers: BufReader::new(answers),
            session: String::new(),
            number: 0,
            events: Vec::new(),
            _directory: directory,
        };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", &attach);
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        let size =
            &json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        browser.call("Emulation.setDeviceMetricsOverride", size);
        browser
    }

    /// Opens a file, until it is loaded.
    pub fn open(&mut self, path: &Path) {
        self.call(
            "Page.navigate",
            &json!({"url": format!("file://{}", path.display())}),
        );
        while !self
            .events
            .iter()
            .any(|event| event["method"] == "Page.loadEventFired")
        {
            let event = self.read();
            self.events.push(event);
        }
    }

    /// The value of an expression.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let result = self.call(
            "Runtime.evaluate",
            &json!({"expression": expression, "returnByValue": true}),
        );
        assert!(
            result.get("exceptionDetails").is_none(),
            "{expression}: {result}"
        );
        result["result"]["value"].clone()
    }

    /// Presses keys as a person does: one of their names, or a character.
    pub fn press(&mut self, keys: &[&str]) {
        for key in keys {
            let code = match *key {
                "Enter" => 13,
                "Escape" => 27,
                "ArrowLeft" => 37,
                "ArrowUp" => 38,
                "ArrowRight" => 39,
                "ArrowDown" => 40,
                "End" => 35,
                other => other
                    .to_ascii_uppercase()
                    .bytes()
                    .next()
                    .map_or(0, u32::from),
            };
            let text = if key.len() == 1 {
                *key
            } else if *key == "Enter" {
                "\r"
            } else {
                ""
            };
            let mut down = json!({"type": "keyDown", "key": key, "windowsVirtualKeyCode": code});
            if !text.is_empty() {
                down["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", &down);
            let up = json!({"type": "keyUp", "key": key, "windowsVirtualKeyCode": code});
            self.call("Input.dispatchKeyEvent", &up);
        }
    }

    /// Calls a method of the protocol.
    pub fn call(&mut self, method: &str, params: &Value) -> Value {
        self.number += 1;
        let mut command = json!({"id": self.number, "method": method, "params": params});
        if !self.session.is_empty() {
            command["sessionId"] = json!(self.session);
        }
        self.commands
            .write_all(format!("{command}\0").as_bytes())
            .unwrap();
        loop {
            let answer = self.read();
            if answer["id"] == self.number {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
            self.events.push(answer);
        }
    }

    fn read(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.answers.read_until(0, &mut bytes).unwrap();
        assert!(
            !bytes.is_empty(),
            "the browser ended: is Debian's package chromium installed?"
        );
        bytes.pop();
        serde_json::from_slice(&bytes).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends `timeout`, which ends the browser.
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _ = self.child.wait();
    }
}
