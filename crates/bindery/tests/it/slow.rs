//! `slowhttptest`, which others wrote to find servers that slow clients put out of service.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bindery_testkit::programs::run;

use crate::{
    program::{Background, Folder, free_port, local},
    run::plain,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_keep_nobody_else_from_being_served() {
    let port = free_port();
    let folder = Folder::new(&format!(
        "[[site]]\nname = 'a'\nroot = 'www'\nbindings = ['http/127.0.0.1:{port}:']\n"
    ));
    fs::create_dir(folder.path().join("www")).unwrap();
    fs::write(folder.path().join("www/index.html"), "hello").unwrap();
    fs::write(folder.path().join("www/large"), vec![b'x'; 1024 * 1024]).unwrap();
    let server = Background::serving(&folder);
    let url = format!("http://127.0.0.1:{port}/large");
    for mode in ["-H", "-B", "-X"] {
        // 200 connections within a second, for six; it says what it sees after five.
        let words = [mode, "-c", "200", "-r", "200", "-i", "1", "-l", "6", "-p", "2", "-u", &url];
        let over = AtomicBool::new(false);
        let honest = async {
            let mut answered = 0;
            while !over.load(Ordering::Relaxed) {
                let mut client = plain(local(port)).await;
                let answer = client.get("127.0.0.1", "/").await.unwrap();
                assert_eq!((answer.status, answer.text().as_str()), (200, "hello"), "{mode}");
                answered += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            answered
        };
        let attack = async {
            let said = run("slowhttptest", &words, "").await;
            over.store(true, Ordering::Relaxed);
            said
        };
        let (said, answered) = tokio::join!(attack, honest);
        let Some(said) = said else { return };
        let available = |word: &str| said.stdout.contains(&format!("{word}\x1b[0m"));
        assert!(available("YES") && !available("NO"), "{mode}: {said:?}");
        assert!(answered > 20, "{mode}: {answered}");
    }
    drop(server);
}
