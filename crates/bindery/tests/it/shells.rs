//! Shells as people have them: names are completed as they are at that moment, and manual pages can
//! be read.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::symlink,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    time::{Duration, Instant},
};

use crate::program::{Background, Folder, PROGRAM, free_port, skipped};

/// A shell on a terminal of its own.
struct Terminal {
    shell: Child,
    keys: ChildStdin,
    shown: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    /// A shell in this folder; nothing where it is not installed.
    fn new(folder: &Path, shell: &str, words: &str) -> Option<Self> {
        let found = Command::new(shell).arg("--version").output();
        if found.is_err() {
            skipped(&format!("{shell} is not installed"));
            return None;
        }
        let links = folder.join("links");
        if !links.exists() {
            fs::create_dir(&links).unwrap();
            symlink(PROGRAM, links.join("bindery")).unwrap();
        }
        let path = std::env::var_os("PATH").unwrap().into_string().unwrap();
        // script(1) gives it a terminal.
        let mut command = Command::new("script");
        command.args([
            "--quiet",
            "--return",
            "--command",
            &format!("{shell} {words}"),
            "/dev/null",
        ]);
        command.env("PATH", format!("{}:{path}", links.display()));
        command.envs([("HOME", folder), ("ZDOTDIR", folder)]).env("TERM", "dumb");
        command.current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = command.spawn().unwrap();
        let (keys, mut out) = (shell.stdin.take().unwrap(), shell.stdout.take().unwrap());
        let (tell, shown) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = out.read(&mut bytes) {
                if tell.send(bytes[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Some(Self { shell, keys, shown, seen: String::new() })
    }

    /// Waits until this is shown, from where it was looked at last.
    #[track_caller]
    fn shows(&mut self, text: &str) {
        let began = Instant::now();
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen = self.seen.split_off(at + text.len());
                return;
            }
            let left = Duration::from_secs(30).saturating_sub(began.elapsed());
            match self.shown.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("{text:?} is not shown\n{}", self.seen),
            }
        }
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.shell.kill());
        drop(self.shell.wait());
    }
}

/// A server with a site `shop`, and what it takes to complete in each shell.
fn serving() -> (Folder, Background, u16) {
    let port = free_port();
    let folder = Folder::new(&format!(
        "\n[[site]]\nname = \"shop\"\nrespond = \"\"\n\
         bindings = [\"http/*:{port}:shop.example\", \"http/*:{port}:www.shop.example\"]\n"
    ));
    let server = Background::serving(&folder);
    (folder, server, port)
}

/// Names of a server that runs, of which one was not there when the shell began.
#[track_caller]
fn completes(folder: &Folder, terminal: &mut Terminal) {
    terminal.shows("READY> ");
    terminal.types("bindery site show sh\t\n");
    terminal.shows("site \"shop\"");
    folder.run("site add later respond=").check(0, &[]);
    folder.run("app add later /inner respond=").check(0, &[]);
    terminal.types("bindery site show la\t\n");
    terminal.shows("site \"later\"");
    terminal.types("bindery app show later /i\t\n");
    terminal.shows("application /inner of site \"later\"");
    let mut command = Command::new(PROGRAM);
    let blank = command.args(["site", "add", "my site", "respond="]).current_dir(folder.path());
    assert!(blank.output().unwrap().status.success());
    terminal.types("bindery site show my\t\n");
    terminal.shows("site \"my site\"");
    terminal.types("exit\n");
    assert!(terminal.shell.wait().unwrap().success());
}

#[test]
fn bash_completes_what_there_is() {
    let (folder, server, port) = serving();
    let rc = "PS1='READY> '\neval \"$(bindery completions bash)\"\n";
    fs::write(folder.path().join("rc"), rc).unwrap();
    let Some(mut terminal) = Terminal::new(folder.path(), "bash", "--rcfile rc -i") else { return };
    // bash ends a word at each colon, and a binding has those in it.
    for typed in [format!("http/*:{port}:w"), format!("'http/*:{port}:w")] {
        terminal.types(&format!("bindery binding remove --dry-run shop {typed}\t\n"));
        terminal.shows(&format!("- binding http/*:{port}:www.shop.example of site \"shop\""));
    }
    terminal.types("bindery binding remove --dry-run shop h\tw\t\n");
    terminal.shows(&format!("- binding http/*:{port}:www.shop.example of site \"shop\""));
    terminal.seen.insert_str(0, "READY> ");
    completes(&folder, &mut terminal);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn zsh_completes_what_there_is() {
    let (folder, server, port) = serving();
    let rc = "PS1='READY> '\nautoload -Uz compinit\ncompinit -u -d dump\n\
              eval \"$(bindery completions zsh)\"\n";
    fs::write(folder.path().join(".zshrc"), rc).unwrap();
    let Some(mut terminal) = Terminal::new(folder.path(), "zsh", "-i") else { return };
    terminal.shows("READY> ");
    terminal.types(&format!("bindery binding remove --dry-run shop http/*:{port}:w\t\n"));
    terminal.shows(&format!("- binding http/*:{port}:www.shop.example of site \"shop\""));
    completes(&folder, &mut terminal);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn fish_completes_what_there_is() {
    let (folder, server, _) = serving();
    let rc =
        "-i -C 'function fish_prompt; echo \"READY> \"; end; bindery completions fish | source'";
    let Some(mut terminal) = Terminal::new(folder.path(), "fish", rc) else { return };
    completes(&folder, &mut terminal);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn shells_find_no_fault_with_what_they_are_given() {
    let folder = Folder::new("");
    for (shell, option) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let done = folder.run(&format!("completions {shell}"));
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{shell}");
        let file = folder.path().join(shell);
        fs::write(&file, done.out).unwrap();
        let Ok(read) = Command::new(shell).arg(option).arg(&file).output() else {
            skipped(&format!("{shell} is not installed"));
            continue;
        };
        assert!(read.status.success() && read.stderr.is_empty(), "{shell}: {read:?}");
    }
    for shell in ["elvish", "powershell"] {
        let done = folder.run(&format!("completions {shell}"));
        assert!(done.code == 0 && done.out.contains("COMPLETE"), "{shell}");
    }
    folder.run("completions tcsh").check(2, &[]);
}

#[test]
fn each_command_has_a_manual_page_that_can_be_read() {
    let folder = Folder::new("");
    folder.run("man --to man").check(0, &[]);
    let pages: Vec<_> =
        fs::read_dir(folder.path().join("man")).unwrap().map(|page| page.unwrap().path()).collect();
    assert!(pages.len() > 40, "{}", pages.len());
    for page in pages {
        let mut groff = Command::new("groff");
        groff.args(["-man", "-Tutf8", "-ww", "-P-cbou"]).arg(&page);
        let Ok(read) = groff.output() else { return skipped("groff is not installed") };
        let (text, warnings) = (String::from_utf8_lossy(&read.stdout), &read.stderr);
        assert!(warnings.is_empty(), "{}: {}", page.display(), String::from_utf8_lossy(warnings));
        let name = page.file_stem().unwrap().to_str().unwrap();
        for part in ["NAME", "SYNOPSIS", "DESCRIPTION", name] {
            assert!(text.contains(part), "{part} is missing in {}\n{text}", page.display());
        }
    }
    let page = fs::read_to_string(folder.path().join("man/bindery-site-add.1")).unwrap();
    assert!(page.contains("\\-\\-certificate"), "{page}");
}
