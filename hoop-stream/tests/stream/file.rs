//! The file sink.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use hoop_stream::memory::MemoryLog;
use serde_json::json;

use crate::node::{fill, numbers, start, stored};

#[tokio::test]
async fn lines_go_to_a_file_that_is_rotated_and_cut_to_whole_lines() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("records.jsonl");
    // What a crash left.
    fs::write(&path, "{\"id\":\"node-1-7f3a/0\"}\n{\"id").unwrap();
    let log = MemoryLog::default();
    let config = json!({
        "name": "file",
        "kind": "file",
        "path": path,
        "rotate": { "bytes": 65536, "keep": 3 },
        "batch": { "records": 50, "delay": "1ms" },
    });
    let sinks = start(&log, &directory.path().join("cursors"), [config.clone()]);
    fill(&log, 2000);
    stored(&sinks, 2000).await;
    drop(sinks);

    let mut all = Vec::new();
    for name in [
        "records.jsonl.3",
        "records.jsonl.2",
        "records.jsonl.1",
        "records.jsonl",
    ] {
        let lines = fs::read(directory.path().join(name)).unwrap();
        assert!(lines.len() <= 65536, "{name}: {}", lines.len());
        all.extend(numbers(&lines));
    }
    assert_eq!(all.last(), Some(&2000));
    assert!(all.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{all:?}");
    assert!(all.len() > 500 && all.len() < 2000, "{}", all.len());
    assert!(!directory.path().join("records.jsonl.4").exists());
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
