//! A root folder, and opening what lies below it and nothing else.
//!
//! The kernel keeps a path inside (`openat2` with `RESOLVE_BENEATH`), at the moment of opening, so
//! there is no race to win against it. Where `openat2` is missing or forbidden, the names are opened
//! one by one. Which symbolic links are followed is the site's choice ([`Symlinks`]).
//!
//! A thread that must not wait asks with [`Patience::Never`]: the kernel then answers from its
//! caches (`RESOLVE_CACHED`) or says that it cannot, which is [`Errno::AGAIN`] here. File systems
//! that are not known to be local are never asked in that way.

use std::{
    fs::File,
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use bindery_model::site::Symlinks;
use rustix::{
    fs::{AtFlags, CWD, FileType, FsWord, Mode, OFlags, ResolveFlags, StatxFlags},
    io::Errno,
};

use crate::limits;

/// May the thread that asks wait for a disk?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// It serves others meanwhile. What would wait is [`Errno::AGAIN`].
    Never,
    /// It is one of the blocking pool's.
    Wait,
}

/// How names are turned into files below a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolver {
    /// `openat2` on a local file system, which can be asked not to wait.
    KernelAtOnce,
    /// `openat2`, and it may wait.
    Kernel,
    /// Name by name.
    NameByName,
}

/// Whether a file system answers by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speed {
    /// It is known to. What is in memory is given without waiting.
    Local,
    /// It may wait for somebody: another machine, another program.
    Slow,
}

/// What is wanted of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Its metadata only.
    Look,
    /// The metadata of a folder; nothing else is opened.
    LookAtFolder,
    /// The names in a folder.
    ReadFolder,
    /// Its content. Never waits for the other end of a pipe or for a device.
    Read,
}

impl Access {
    fn flags(self) -> OFlags {
        let wanted = match self {
            Self::Look => OFlags::PATH,
            Self::LookAtFolder => OFlags::PATH | OFlags::DIRECTORY,
            Self::ReadFolder => OFlags::RDONLY | OFlags::DIRECTORY,
            Self::Read => OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY,
        };
        wanted | OFlags::CLOEXEC
    }
}

/// The place of a root folder. The folder itself is opened when it is asked for, and again when the
/// last look is older than [`limits::FILE_VERIFIED_FOR`], because administrators put new versions in
/// place by renaming folders or links.
#[derive(Debug)]
pub(super) struct RootPlace {
    path: PathBuf,
    symlinks: Symlinks,
    opened: Mutex<Option<(Instant, Arc<Root>)>>,
}

impl RootPlace {
    pub(super) fn new(path: PathBuf, symlinks: Symlinks) -> Self {
        Self { path, symlinks, opened: Mutex::new(None) }
    }

    pub(super) fn path(&self) -> &PathBuf {
        &self.path
    }

    /// The folder that is in that place, or was so shortly before `now`.
    pub(super) fn open(&self, now: Instant, patience: Patience) -> Result<Arc<Root>, Errno> {
        let known = self.opened.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((opened, root)) = &known
            && now.saturating_duration_since(*opened) < limits::FILE_VERIFIED_FOR
        {
            return Ok(Arc::clone(root));
        }
        let known = known.map(|(_, root)| root);
        let root = Arc::new(match patience {
            Patience::Never => self.open_at_once(known.as_deref())?,
            Patience::Wait => self.open_and_probe(known.as_deref())?,
        });
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody may have looked later and been faster.
        if opened.as_ref().is_none_or(|(opened, _)| *opened <= now) {
            *opened = Some((now, Arc::clone(&root)));
        }
        Ok(root)
    }

    /// How the folder was when it was last looked at.
    pub(super) fn speed(&self) -> Speed {
        let known = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().map_or(Speed::Slow, |(_, root)| root.speed())
    }

    /// Only what is on the same device as before is known to be local.
    fn open_at_once(&self, known: Option<&Root>) -> Result<Root, Errno> {
        let known =
            known.filter(|root| root.resolver == Resolver::KernelAtOnce).ok_or(Errno::AGAIN)?;
        let flags = Access::LookAtFolder.flags();
        let folder =
            rustix::fs::openat2(CWD, &self.path, flags, Mode::empty(), ResolveFlags::CACHED)?;
        let device = Device::of(&folder)?;
        if device != known.device {
            return Err(Errno::AGAIN);
        }
        let (resolver, symlinks) = (Resolver::KernelAtOnce, self.symlinks);
        Ok(Root { folder, device, resolver, symlinks })
    }

    fn open_and_probe(&self, known: Option<&Root>) -> Result<Root, Errno> {
        let flags = Access::LookAtFolder.flags();
        let folder = uninterrupted(|| rustix::fs::open(&self.path, flags, Mode::empty()))?;
        let device = Device::of(&folder)?;
        let resolver = match known {
            Some(known) if known.device == device => known.resolver,
            _ => Resolver::probe(&folder)?,
        };
        Ok(Root { folder, device, resolver, symlinks: self.symlinks })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Device {
    major: u32,
    minor: u32,
}

impl Device {
    /// Asks no remote server about it, and so never waits.
    fn of(folder: &OwnedFd) -> Result<Self, Errno> {
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let stat = rustix::fs::statx(folder, c"", flags, StatxFlags::INO)?;
        Ok(Self { major: stat.stx_dev_major, minor: stat.stx_dev_minor })
    }
}

impl Resolver {
    fn probe(folder: &OwnedFd) -> Result<Self, Errno> {
        let flags = Access::LookAtFolder.flags();
        let open =
            |resolve| rustix::fs::openat2(folder, c".", flags, Mode::empty(), INSIDE | resolve);
        match open(ResolveFlags::CACHED) {
            Ok(_) | Err(Errno::AGAIN) if is_local(folder)? => Ok(Self::KernelAtOnce),
            Ok(_) | Err(Errno::AGAIN) => Ok(Self::Kernel),
            // A kernel before 5.12 does not know the flag.
            Err(Errno::INVAL) => Ok(Self::Kernel),
            // A kernel before 5.6, or a container that does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => Ok(Self::NameByName),
            Err(error) => Err(error),
        }
    }
}

/// File systems whose metadata, once in memory, is answered from memory. All others, the network's
/// above all, may wait for somebody.
const LOCAL: [FsWord; 12] = [
    0x0000_EF53, // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683E, // Btrfs
    0x0102_1994, // tmpfs
    0x794C_7630, // overlayfs
    0xF2F5_2010, // F2FS
    0x2FC1_2FC1, // ZFS
    0xCA45_1A4E, // bcachefs
    0x7371_7368, // SquashFS
    0xE0F5_E1E2, // EROFS
    0x8584_58F6, // ramfs
    0x0000_4D44, // FAT
];

fn is_local(folder: &OwnedFd) -> Result<bool, Errno> {
    Ok(LOCAL.contains(&rustix::fs::fstatfs(folder)?.f_type))
}

const INSIDE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// An open root folder.
#[derive(Debug)]
pub(super) struct Root {
    folder: OwnedFd,
    device: Device,
    resolver: Resolver,
    symlinks: Symlinks,
}

impl Root {
    /// Opens `relative`, names between single slashes; none of them is the root itself.
    pub(super) fn open(
        &self,
        relative: &[u8],
        access: Access,
        patience: Patience,
    ) -> Result<File, Errno> {
        let relative = if relative.is_empty() { b"." } else { relative };
        let file = match (self.resolver, patience) {
            (Resolver::KernelAtOnce, Patience::Never) => self.open_cached(relative, access)?,
            (Resolver::Kernel | Resolver::NameByName, Patience::Never) => {
                return Err(Errno::AGAIN);
            }
            (Resolver::KernelAtOnce | Resolver::Kernel, Patience::Wait) => {
                self.open_inside(relative, access)?
            }
            (Resolver::NameByName, Patience::Wait) => match self.symlinks {
                Symlinks::Refuse => self.walk(relative, access)?,
                Symlinks::Inside => self.walk_inside(relative, access)?,
                Symlinks::Follow => open_at(&self.folder, relative, access.flags())?,
            },
        };
        Ok(file.into())
    }

    /// How a file of this device, as its metadata has it, may be treated: what is mounted below
    /// the root may be remote.
    pub(super) fn speed_of(&self, device: u64) -> Speed {
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        if self.device == (Device { major, minor }) { self.speed() } else { Speed::Slow }
    }

    fn speed(&self) -> Speed {
        match self.resolver {
            Resolver::KernelAtOnce => Speed::Local,
            Resolver::Kernel | Resolver::NameByName => Speed::Slow,
        }
    }

    /// Links that are files of processes lead anywhere and are never followed.
    fn resolve(&self) -> ResolveFlags {
        match self.symlinks {
            Symlinks::Refuse => INSIDE | ResolveFlags::NO_SYMLINKS,
            Symlinks::Inside => INSIDE,
            Symlinks::Follow => ResolveFlags::NO_MAGICLINKS,
        }
    }

    fn open_cached(&self, relative: &[u8], access: Access) -> Result<OwnedFd, Errno> {
        // What is mounted below the root may be remote.
        let resolve = self.resolve() | ResolveFlags::CACHED | ResolveFlags::NO_XDEV;
        let flags = access.flags();
        match rustix::fs::openat2(&self.folder, relative, flags, Mode::empty(), resolve) {
            // Another mount, or a way out: the resolver that may wait can tell.
            Err(Errno::XDEV | Errno::INTR) => Err(Errno::AGAIN),
            result => result,
        }
    }

    fn open_inside(&self, relative: &[u8], access: Access) -> Result<OwnedFd, Errno> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let opened = uninterrupted(|| {
                let flags = access.flags();
                rustix::fs::openat2(&self.folder, relative, flags, Mode::empty(), self.resolve())
            });
            match opened {
                // A rename came between, and the kernel could not be sure. Or a lease is broken.
                Err(Errno::AGAIN) if attempts < limits::FILE_OPEN_ATTEMPTS_MAX => {}
                opened => return opened,
            }
        }
    }

    /// Opens names one by one, and no link.
    fn walk(&self, relative: &[u8], access: Access) -> Result<OwnedFd, Errno> {
        let (folders, name) = match relative.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (relative.get(..slash), relative.get(slash + 1..)),
            None => (None, Some(relative)),
        };
        let open = |folder: &OwnedFd, name: &[u8], access: Access| {
            // The root itself is `.`; within a path it cannot occur, and `..` neither.
            if name.is_empty() || name == b".." || (name == b"." && relative != b".") {
                return Err(Errno::NOENT);
            }
            open_at(folder, name, access.flags() | OFlags::NOFOLLOW)
        };
        let mut folder = None;
        for name in folders.into_iter().flat_map(|path| path.split(|&byte| byte == b'/')) {
            let inner = open(folder.as_ref().unwrap_or(&self.folder), name, Access::LookAtFolder)?;
            folder = Some(inner);
        }
        open(folder.as_ref().unwrap_or(&self.folder), name.unwrap_or_default(), access)
    }

    /// Opens names one by one and reads links instead of following them: what they say is walked
    /// like the rest. The way up is the way that was come, so it never leads above the root.
    fn walk_inside(&self, relative: &[u8], access: Access) -> Result<OwnedFd, Errno> {
        let segments = |path: &[u8]| {
            path.split(|&byte| byte == b'/').rev().map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        let mut way: Vec<OwnedFd> = Vec::new();
        let mut names = segments(relative);
        let mut links = 0;
        while let Some(name) = names.pop() {
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    way.pop().ok_or(Errno::XDEV)?;
                    continue;
                }
                _ => {}
            }
            let folder = way.last().unwrap_or(&self.folder);
            let seen = open_at(folder, &name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC)?;
            match FileType::from_raw_mode(rustix::fs::fstat(&seen)?.st_mode) {
                FileType::Symlink => {
                    links += 1;
                    if links > limits::FILE_LINKS_MAX {
                        return Err(Errno::LOOP);
                    }
                    let target = rustix::fs::readlinkat(&seen, c"", Vec::new())?;
                    if target.to_bytes().starts_with(b"/") {
                        return Err(Errno::XDEV);
                    }
                    names.extend(segments(target.to_bytes()));
                }
                FileType::Directory => way.push(seen),
                _ if !names.is_empty() => return Err(Errno::NOTDIR),
                // Not a link a moment ago, and if it is now it is not followed.
                _ => return open_at(folder, &name, access.flags() | OFlags::NOFOLLOW),
            }
        }
        open_at(way.last().unwrap_or(&self.folder), b".", access.flags())
    }
}

fn open_at(folder: &OwnedFd, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    uninterrupted(|| rustix::fs::openat(folder, name, flags, Mode::empty()))
}

fn uninterrupted<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{fs, io::Read, os::unix::fs::symlink, path::Path};

    use super::*;

    pub(in super::super) const RESOLVERS: [Resolver; 3] =
        [Resolver::KernelAtOnce, Resolver::Kernel, Resolver::NameByName];

    /// Makes a place use one resolver: it is kept while the device is the same.
    pub(in super::super) fn force(place: &RootPlace, resolver: Resolver, now: Instant) {
        let folder = rustix::fs::open(&place.path, OFlags::PATH, Mode::empty()).unwrap();
        let device = Device::of(&folder).unwrap();
        let root = Root { folder, device, resolver, symlinks: place.symlinks };
        *place.opened.lock().unwrap() = Some((now, Arc::new(root)));
    }

    const SYMLINKS: [Symlinks; 3] = [Symlinks::Refuse, Symlinks::Inside, Symlinks::Follow];

    fn root(path: &Path, resolver: Resolver, symlinks: Symlinks) -> Arc<Root> {
        let place = RootPlace::new(path.to_owned(), symlinks);
        force(&place, resolver, Instant::now());
        place.open(Instant::now(), Patience::Wait).unwrap()
    }

    fn content(root: &Root, relative: &str) -> Result<String, Errno> {
        let mut text = String::new();
        let mut file = root.open(relative.as_bytes(), Access::Read, Patience::Wait)?;
        file.read_to_string(&mut text).map_err(|error| Errno::from_io_error(&error).unwrap())?;
        Ok(text)
    }

    #[test]
    fn nothing_outside_the_root_is_opened() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("root");
        fs::create_dir_all(path.join("a/b")).unwrap();
        fs::write(outer.path().join("secret"), "secret").unwrap();
        fs::write(path.join("file"), "file").unwrap();
        symlink("../secret", path.join("out")).unwrap();
        symlink(outer.path().join("secret"), path.join("absolute")).unwrap();
        symlink(path.join("file"), path.join("absolute-in")).unwrap();
        symlink("../..", path.join("a/up")).unwrap();
        symlink("/proc/self/root", path.join("magic")).unwrap();
        let strict = SYMLINKS.into_iter().filter(|symlinks| *symlinks != Symlinks::Follow);
        let cases = strict.flat_map(|links| RESOLVERS.map(|resolver| (links, resolver)));
        for (symlinks, resolver) in cases {
            let root = root(&path, resolver, symlinks);
            assert_eq!(content(&root, "file"), Ok("file".to_owned()), "{resolver:?}");
            for out in [
                "../secret",
                "a/../../secret",
                "..",
                "out",
                "absolute",
                "absolute-in",
                "a/up/secret",
                "magic/etc/passwd",
                "/etc/passwd",
                "a/b/../../../secret",
            ] {
                let error = content(&root, out).unwrap_err();
                let refused = [Errno::XDEV, Errno::LOOP, Errno::NOENT, Errno::NOTDIR];
                assert!(refused.contains(&error), "{out} by {resolver:?}: {error}");
            }
        }
    }

    #[test]
    fn links_are_followed_as_the_site_says_by_every_resolver() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("root");
        fs::create_dir_all(path.join("a/b")).unwrap();
        fs::write(path.join("a/file"), "file").unwrap();
        fs::write(outer.path().join("outside"), "outside").unwrap();
        symlink("a", path.join("folder")).unwrap();
        symlink("../a/./file", path.join("a/link")).unwrap();
        symlink("b/../../folder//link", path.join("a/far")).unwrap();
        symlink("../outside", path.join("out")).unwrap();
        symlink(outer.path().join("outside"), path.join("absolute")).unwrap();
        symlink("round", path.join("round")).unwrap();
        symlink("none", path.join("dangling")).unwrap();
        symlink("a/file/", path.join("slash")).unwrap();
        let (no, out, none) = (Err(Errno::LOOP), Err(Errno::XDEV), Err(Errno::NOENT));
        let (file, outside) = (Ok("file"), Ok("outside"));
        for (name, refuse, inside, follow) in [
            ("a/file", file, file, file),
            ("folder/file", no, file, file),
            ("a/link", no, file, file),
            ("a/far", no, file, file),
            ("out", no, out, outside),
            ("absolute", no, out, outside),
            ("round", no, no, no),
            ("dangling", no, none, none),
            ("slash", no, Err(Errno::NOTDIR), Err(Errno::NOTDIR)),
        ] {
            for (symlinks, expected) in SYMLINKS.into_iter().zip([refuse, inside, follow]) {
                for resolver in RESOLVERS {
                    let root = root(&path, resolver, symlinks);
                    let what = format!("{name} with {symlinks:?} by {resolver:?}");
                    // A link that is opened as a folder, and not followed, is no folder.
                    let answer = content(&root, name).map_err(|error| match error {
                        Errno::NOTDIR if name == "folder/file" => Errno::LOOP,
                        other => other,
                    });
                    assert_eq!(answer, expected.map(str::to_owned), "{what}");
                }
            }
        }
    }

    #[test]
    fn who_may_not_wait_is_told_to_unless_the_kernel_knows() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        for resolver in RESOLVERS {
            let root = root(folder.path(), resolver, Symlinks::Inside);
            let opened = root.open(b"file", Access::Look, Patience::Never);
            match resolver {
                Resolver::KernelAtOnce => drop(opened.unwrap()),
                _ => assert_eq!(opened.unwrap_err(), Errno::AGAIN),
            }
        }
        let place = RootPlace::new(folder.path().to_owned(), Symlinks::Inside);
        assert_eq!(place.open(Instant::now(), Patience::Never).unwrap_err(), Errno::AGAIN);
    }

    #[test]
    fn a_place_is_looked_at_again_when_the_window_is_over() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("root");
        for (name, text) in [("root", "old"), ("next", "new")] {
            fs::create_dir(outer.path().join(name)).unwrap();
            fs::write(outer.path().join(name).join("file"), text).unwrap();
        }
        let place = RootPlace::new(path.clone(), Symlinks::Inside);
        let start = Instant::now();
        let at = |time, patience| content(&place.open(time, patience).unwrap(), "file").unwrap();
        assert_eq!(at(start, Patience::Wait), "old");
        fs::rename(&path, outer.path().join("previous")).unwrap();
        fs::rename(outer.path().join("next"), &path).unwrap();
        assert_eq!(at(start, Patience::Wait), "old");
        let later = start + limits::FILE_VERIFIED_FOR;
        assert_eq!(at(later, Patience::Wait), "new");
        assert_eq!(at(start, Patience::Wait), "new", "an earlier look does not win over a later");
    }
}
