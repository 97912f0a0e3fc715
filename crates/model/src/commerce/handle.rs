//! Names for addresses, made of titles.

/// The longest handle, in bytes.
pub const MAX_HANDLE_BYTES: usize = 255;

/// The name in addresses that a title gives: lower-case letters and digits, and one hyphen for whatever is between them.
/// Latin letters lose their marks; letters of other scripts stay as they are, since leaving them out would leave nothing.
/// Empty if the title has neither letters nor digits.
pub fn handle(title: &str) -> String {
    let mut handle = String::with_capacity(title.len());
    let mut gap = false;
    for character in title.chars().flat_map(char::to_lowercase) {
        // A mark of its own belongs to the letter before it, and an apostrophe to its word: "men's" is "mens".
        if matches!(character, '\u{300}'..='\u{36f}' | '\'' | '\u{2019}') {
            continue;
        }
        let mut buffer = [0; 4];
        let letters = plain(character).unwrap_or_else(|| character.encode_utf8(&mut buffer));
        if !letters.chars().all(char::is_alphanumeric) {
            gap = true;
            continue;
        }
        let hyphen = usize::from(gap && !handle.is_empty());
        if handle.len() + hyphen + letters.len() > MAX_HANDLE_BYTES {
            break;
        }
        if hyphen == 1 {
            handle.push('-');
        }
        handle.push_str(letters);
        gap = false;
    }
    handle
}

/// Whether a text is one that [`handle`] may give.
pub fn is_handle(text: &str) -> bool {
    let letter = |character: char| character.is_alphanumeric() && character.to_lowercase().eq([character]);
    !text.is_empty()
        && text.len() <= MAX_HANDLE_BYTES
        && text.chars().all(|character| letter(character) || matches!(character, '-' | '_'))
}

/// A lower-case Latin letter without its marks.
fn plain(letter: char) -> Option<&'static str> {
    Some(match letter {
        'à'..='å' | 'ā' | 'ă' | 'ą' | 'ǎ' | 'ạ'..='ặ' => "a",
        'æ' => "ae",
        'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' => "c",
        'ď' | 'đ' | 'ð' => "d",
        'è'..='ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' | 'ẹ'..='ệ' => "e",
        'ĝ' | 'ğ' | 'ġ' | 'ģ' => "g",
        'ĥ' | 'ħ' => "h",
        'ì'..='ï' | 'ĩ' | 'ī' | 'ĭ' | 'į' | 'ı' | 'ǐ' | 'ỉ' | 'ị' => "i",
        'ĳ' => "ij",
        'ĵ' => "j",
        'ķ' | 'ĸ' => "k",
        'ĺ' | 'ļ' | 'ľ' | 'ŀ' | 'ł' => "l",
        'ñ' | 'ń' | 'ņ' | 'ň' => "n",
        'ò'..='ö' | 'ø' | 'ō' | 'ŏ' | 'ő' | 'ơ' | 'ǒ' | 'ọ'..='ợ' => "o",
        'œ' => "oe",
        'ŕ' | 'ŗ' | 'ř' => "r",
        'ś' | 'ŝ' | 'ş' | 'š' | 'ș' => "s",
        'ß' => "ss",
        'ţ' | 'ť' | 'ŧ' | 'ț' => "t",
        'þ' => "th",
        'ù'..='ü' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' | 'ư' | 'ǔ' | 'ụ'..='ự' => "u",
        'ŵ' | 'ẁ' | 'ẃ' | 'ẅ' => "w",
        'ý' | 'ÿ' | 'ŷ' | 'ỳ'..='ỹ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn titles_give_handles() {
        for (title, expected) in [
            ("Ocean Blue Shirt", "ocean-blue-shirt"),
            ("  7 Shakra -- Bracelet! ", "7-shakra-bracelet"),
            ("Men's & Women’s Tee", "mens-womens-tee"),
            ("Größe XL, süß", "grosse-xl-suss"),
            ("CAFÉ Crème brûlée", "cafe-creme-brulee"),
            ("cafe\u{301}", "cafe"),
            ("Smørrebrød på Ærø", "smorrebrod-pa-aero"),
            ("İstanbul ŁÓDŹ Ẁ", "istanbul-lodz-w"),
            ("Phở Việt", "pho-viet"),
            ("青いシャツ 2", "青いシャツ-2"),
            ("🎁", ""),
            ("", ""),
        ] {
            assert_eq!(handle(title), expected, "{title:?}");
        }
        for bad in ["", "Big", "two words", "a/b", "ä?", &"a".repeat(256)] {
            assert!(!is_handle(bad), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_handle_is_one_and_gives_itself(title in ".{0,300}|[A-Za-zÀ-ž '-]{0,300}") {
            let first = handle(&title);
            prop_assert!(first.is_empty() || is_handle(&first), "{:?}", first);
            prop_assert!(!first.starts_with('-') && !first.ends_with('-') && !first.contains("--"));
            prop_assert_eq!(handle(&first), first.clone());
        }
    }
}
