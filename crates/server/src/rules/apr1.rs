//! Apache's variant of the MD5 password hash, `$apr1$salt$hash`: what old versions of htpasswd
//! write. Broken as a hash and slow only by its thousand rounds, but it is what is in the files.

use md5::{Digest as _, Md5};

/// The digits of the hash, in their order.
const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ROUNDS: usize = 1000;

/// The 22 digits behind the salt.
pub(super) fn hash(password: &[u8], salt: &[u8]) -> String {
    let mut digest = begin(password, salt);
    for round in 0..ROUNDS {
        let odd = round % 2 == 1;
        let mut next = Md5::new();
        next.update(if odd { password } else { &digest });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if odd { &digest } else { password });
        digest = next.finalize().into();
    }
    digits(&digest)
}

fn begin(password: &[u8], salt: &[u8]) -> [u8; 16] {
    let inner: [u8; 16] = Md5::new()
        .chain_update(password)
        .chain_update(salt)
        .chain_update(password)
        .finalize()
        .into();
    let mut outer = Md5::new().chain_update(password).chain_update(b"$apr1$").chain_update(salt);
    for part in password.chunks(inner.len()) {
        outer.update(inner.get(..part.len()).unwrap_or_default());
    }
    // The length bit by bit: a zero for each bit that is set, else the first byte of the password.
    let mut length = password.len();
    while length > 0 {
        let byte = if length % 2 == 1 { Some(&0) } else { password.first() };
        outer.update(byte.map(std::slice::from_ref).unwrap_or_default());
        length /= 2;
    }
    outer.finalize().into()
}

/// Six bits a digit, lowest first, of the bytes in an order of its own.
fn digits(digest: &[u8; 16]) -> String {
    let mut text = String::with_capacity(22);
    let byte = |place: usize| u32::from(digest.get(place).copied().unwrap_or_default());
    let groups = [(0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)];
    for (high, middle, low) in groups {
        push(&mut text, byte(high) << 16 | byte(middle) << 8 | byte(low), 4);
    }
    push(&mut text, byte(11), 2);
    text
}

fn push(text: &mut String, mut bits: u32, digits: usize) {
    for _ in 0..digits {
        let digit = DIGITS.get((bits & 63) as usize).copied().unwrap_or_default();
        text.push(char::from(digit));
        bits >>= 6;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_other_programs() {
        // By `openssl passwd -apr1 -salt SALT PASSWORD`.
        for (password, salt, expected) in [
            ("secret", "saltsalt", "LrttParrLPdxvgutaSXWJ0"),
            ("", "abcdefgh", "L.PT565ESX4Tp2bqNs7Ie."),
            ("a", "x", "16j9.5e7KiXmuYFAYpPJM/"),
            ("a password that is longer than sixteen bytes", "12345678", "uRmxmCy2Q6t9B9VQlZQWd."),
        ] {
            assert_eq!(hash(password.as_bytes(), salt.as_bytes()), expected, "{password}");
        }
    }
}
