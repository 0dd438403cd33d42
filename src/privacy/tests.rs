use proptest::prelude::*;

use super::*;

/// Texts with the one kind that they hold.
const PERSONAL: &[(Kind, &[&str])] = &[
    (
        Kind::Email,
        &[
            "My mail is jane.doe@gmail.com, what now?",
            "Write to <Max.Mustermann@web.de>!",
            "contact: ana+news@correo.com.mx.",
            "mailto:bob_smith@sub.mail.co.uk?subject=hi",
            "müller@firma-köln.de hat geschrieben",
            "Ihre Adresse: ivan@почта.рф",
            "联系我zhang.wei@163.com谢谢",
            "jane (at) gmail (dot) com",
            "reach me: jane[at]proton.me",
            "jane at gmail dot com is mine",
            "JANE.DOE@OUTLOOK.COM",
            "o'connor@eircom.net",
        ],
    ),
    (
        Kind::Phone,
        &[
            "Call me at +1 415-867-5309.",
            "+44 20 7946 0958",
            "+49 (0)30 123456",
            "+4915112345678 ist meine Nummer",
            "+33 6 12 34 56 78",
            "+91 98765 43210",
            "+55 (11) 91234-5678",
            "+86 138 0013 8000",
            "(212) 867-5309 is the number",
            "212-867-5309",
            "212.867.5309?",
            "1-212-867-5309",
            "my phone number is 4158675309",
            "call 415 867 5309 please",
            "text me on 07911 123456",
            "07911123456",
            "020 7946 0958",
            "Tel.: 030/1234567",
            "Telefon 0171 1234567",
            "06 12 34 56 78",
            "06.12.34.56.79 pour me joindre",
            "mi teléfono es 612 345 678",
            "whatsapp 98765 43210",
            "(11) 91234-5678",
            "我的电话13912345678",
            "0049 30 12345678",
            "(02) 9374 4000",
            "my number is 867-5309",
            "mobile no. 9876543210",
            "please ring me on 0161 496 0123",
            "his phone's 555-0199",
            "contact number - 9876543210",
            "Meine Handynummer lautet 0176/12345678",
            "Numero di telefono: 347 123 4567",
            "Ligue para 11 91234-5678",
            "tel:+14158675309",
            "reach us at 415 867 5309",
        ],
    ),
    (
        Kind::Card,
        &[
            "4111 1111 1111 1111",
            "My card 4242-4242-4242-4242 was declined.",
            "5555555555554444",
            "amex 3782 822463 10005",
            "371449635398431",
            "card number: 6011111111111117, exp 12/27",
            "Kartennummer 5105 1051 0510 5100",
            "2223003122003222",
        ],
    ),
    (
        Kind::BankAccount,
        &[
            "DE89 3704 0044 0532 0130 00",
            "IBAN: GB82WEST12345698765432",
            "fr1420041010050500013m02606",
            "Meine IBAN lautet AT611904300234573201.",
            "NL91 ABNA 0417 1643 00",
            "sort code 20-00-00",
            "My account number is 12345678",
            "acct no. 000123456789",
            "Kontonummer 532013000",
            "a/c no: 50100123456789",
            "account #: 48213377",
        ],
    ),
    (
        Kind::NationalId,
        &[
            "My SSN is 078-05-1120.",
            "social security number 219099999",
            "ssn 219 09 9999",
            "NINO: QQ 12 34 56 C",
            "AB123456C",
            "AA 12 34 56 B is her NI number",
            "Steuer-ID 86 095 742 719",
            "86095742719",
            "Personalausweis T220001293",
            "2 55 08 14 168 025 38",
            "255081416802538",
            "DNI 12345678Z",
            "12345678-Z",
            "NIE X1234567L",
            "X-1234567-L",
            "codice fiscale RSSMRA85T10A562S",
            "Aadhaar 2341 2341 2346",
            "my aadhar is 234123412346",
            "PAN card ABCDE1234F",
            "AFZPK7190K",
            "CPF 529.982.247-25",
            "my social is 123-45-6789",
            "numéro de sécurité sociale 1 84 12 76 451 089 46",
            "52998224725",
        ],
    ),
    (
        Kind::Passport,
        &[
            "My passport number is X1234567",
            "passport no. 533380006",
            "Reisepass C01X00T47",
            "pasaporte número AAA123456",
            "passport: 925076473",
        ],
    ),
    (
        Kind::Secret,
        &[
            "sk-ant-api03-AbCdEf0123456789-xyz",
            "why does sk-proj-abc123def456ghi789jkl fail?",
            "export OPENAI_API_KEY=sk-abcdef1234567890abcdef1234567890",
            "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
            "github_pat_11ABCDEFG0abcdefghijkl_mnopqrstuv",
            "AKIAIOSFODNN7EXAMPLE",
            "xoxb-123456789012-abcdefghij",
            "AIzaSyA-1234567890abcdefghijklmnopqrstu",
            "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
            "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nabc",
            "password: hunter2",
            "my password is Tr0ub4dor&3",
            "DB_PASSWORD=s3cr3tpw",
            "Mein Passwort ist Sommer2024!",
            "postgres://admin:s3cret@db.internal:5432/app",
            "Authorization: Bearer abcdef0123456789abcdef",
            "api_key = \"a1b2c3d4e5f6a7b8c9d0\"",
            "client_secret: a1b2c3d4e5f6a7b8c9d0",
            "my pin is 4821",
            "pw: hunter22",
            "mot de passe : Azerty123",
            "contraseña: Perro2020",
            "My password: swordfish",
            "x-api-key: 0123456789abcdef0123456789abcdef",
            "{\"password\": \"hunter22\"}",
        ],
    ),
];

/// What looks alike and is nobody's.
const HARMLESS: &[&str] = &[
    "",
    "What happened in 1999-2004?",
    "Where is order #48213?",
    "order number 4821334567",
    "invoice 0712345678",
    "Is 10.0.0.1 private? And 192.168.100.200?",
    "Upgrade from 1.2.3 to 2.0.0-rc.1",
    "ISBN 978-3-16-148410-0",
    "ISBN 0-306-40615-2, ISBN 0306406152",
    "9783161484100",
    "Call 911!",
    "Is 2024-05-06 a Monday? 06.05.2024? 5/6/2024?",
    "12:30 to 14:45",
    "It costs $1,234,567.89 or 1.234.567,89 EUR",
    "best phone under 10000-15000",
    "phone under 20000",
    "mobile with 12000 mAh and 6000 nits",
    "Nokia 3310 or iPhone 15?",
    "GPT-4o-2024-08-06, claude-3-5-sonnet-20241022",
    "2, 4, 8, 16, 32, 64, 128, 256",
    "What comes after 02 04 06 08 10?",
    "500 300 2000",
    "3.141592653589793238",
    "0.4111111111111111",
    "12345678901234567890",
    "1000000000 + 2000000000",
    "123456789 * 987654321",
    "1 + 44207946095",
    "x=5+12345678",
    "1700000000 is a timestamp, 1700000000000 too",
    "a1b2c3d4-e5f6-7890-abcd-ef1234567890",
    "d41d8cd98f00b204e9800998ecf8427e",
    "rgb(255, 255, 255) #ff00aa #123456",
    "user@example.com and admin@mail.example.org",
    "someone@yourdomain.com, a@b.test",
    "noreply@github.com",
    "git@github.com:rust-lang/rust.git",
    "icon@2x.png",
    "npm i lodash@4.17.21 @types/node@20.1.0",
    "@elonmusk tweeted",
    "@Override public void run()",
    "user@host",
    "How do I reset my password?",
    "Why is my password incorrect?",
    "the password is wrong",
    "password: required",
    "password = input()",
    "password = os.environ['DB']",
    "password=$DB_PASSWORD",
    "password is sha256 hashed",
    "const token = getToken();",
    "max tokens: 4096",
    "sk-cube-grid-wrapper-element",
    "scikit-learn, sk-learn",
    "the secret: never give up",
    "postgres://user:password@localhost/db",
    "Is 1-800-275-2273 Apple's line?",
    "+1 800 275 2273",
    "0800 123 4567",
    "chmod 0755 0644 0600",
    "0110 1001 1100",
    "ZIP 94103-1234",
    "4111 1111 1111 1112",
    "1234 5678 9012 3456",
    "DE89 3704 0044 0532 0130 01",
    "2341 2341 2347",
    "529.982.247-26",
    "12345678A",
    "666-12-3456 and 000-12-3456",
    "RFC 2606, ISO 8601, EN 60601",
    "Which account has 5000000 users?",
    "account 401 is disabled",
    "my account was hacked in 2019 2020",
    "How long does a passport last?",
    "passport 2024",
    "population 8 000 000 000",
    "2024 2025 2026",
    "Phys. Rev. E 78, 046110 2008",
    "Physical Review E 71, 036108 (2005), pp. 496-506 (1962), 30(4): 532-563 (2007)",
    "https://www.pnas.org/doi/10.1073/pnas.0709247105",
    "ISSN 0020-0190",
    "250 ok: Message 64111812 accepted",
    "flight BA2490, seat 12A, gate B42",
    "Take 500 mg 3-2-1",
    "call me in 20 minutes",
    "dial 112 or 110",
    "the number 1234567 is odd",
    "GMT+0530",
    "Meet me at noon, at gmail we say dot com",
    "π ≈ 3,14159265358979",
    "价格是12345678元",
    "AB1234567890",
];

#[test]
fn personal_data_is_found_in_the_forms_people_write_it() {
    let cases = PERSONAL.iter().flat_map(|(kind, texts)| texts.iter().map(move |text| (*kind, *text)));
    let missed: Vec<_> =
        cases.filter(|(kind, text)| worst(text) != Some(*kind)).map(|(_, text)| (text, shown(text))).collect();
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn what_only_looks_alike_is_left_alone() {
    let alarms: Vec<_> =
        HARMLESS.iter().map(|text| (text, shown(text))).filter(|(_, found)| !found.is_empty()).collect();
    assert!(alarms.is_empty(), "{alarms:#?}");
}

fn shown(text: &str) -> Vec<(Kind, &str)> {
    find(text).into_iter().map(|finding| (finding.kind, &text[finding.range])).collect()
}

#[test]
fn each_finding_names_its_place() {
    let text = "Mail jané@gmail.com, call +44 20 7946 0958 or pay 4111 1111 1111 1111 (key ghp_abcdefghijklmnopqrst).";
    let expected = [
        (Kind::Email, "jané@gmail.com"),
        (Kind::Phone, "44 20 7946 0958"),
        (Kind::Card, "4111 1111 1111 1111"),
        (Kind::Secret, "ghp_abcdefghijklmnopqrst"),
    ];
    assert_eq!(shown(text), expected);
    assert_eq!(worst(text), Some(Kind::Secret));
    let masked = masked(text);
    assert_eq!(masked, "Mail (an e-mail address), call +(a phone number) or pay (a card number) (key (a secret)).");
    assert_eq!(worst(&masked), None);
}

#[test]
fn what_is_known_already_does_not_count_unless_anyone_can_use_it() {
    let answer = "Write to help@acme.com or pay with 4111 1111 1111 1111.";
    assert_eq!(worst_beyond("Write to help@acme.com.", "Our address is help@acme.com."), None);
    assert_eq!(worst_beyond("Write to help@acme.com.", "Our address is info@acme.com."), Some(Kind::Email));
    assert_eq!(worst_beyond(answer, answer), Some(Kind::Card));
}

#[test]
fn a_long_text_is_searched_to_its_end_across_pieces() {
    let padding = "Nothing to see here, line 12 of 400.\n".repeat(PIECE / 36);
    for shift in 0..40 {
        let text = format!("{}{padding} jane.doe@gmail.com {padding}", "x".repeat(shift));
        assert_eq!(shown(&text), [(Kind::Email, "jane.doe@gmail.com")], "{shift}");
    }
}

#[test]
fn kinds_have_distinct_names() {
    let mut names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Kind::ALL.len());
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_fall_and_every_place_is_one(text in any::<String>()) {
        holds(&text);
    }

    #[test]
    fn so_is_text_that_looks_personal(text in "([0-9]{1,5}|[-+()./@:# ]|[A-Z]{1,4}|é|电话|sk-|eyJ|password|is|account|number|at|dot|\\(at\\)|com|-----BEGIN|PRIVATE KEY|://|passport|call|tel){0,40}") {
        holds(&text);
    }
}

fn holds(text: &str) {
    let mut end = 0;
    for finding in find(text) {
        assert!(finding.range.start >= end && finding.range.start < finding.range.end, "{finding:?}");
        assert!(text.get(finding.range.clone()).is_some(), "{finding:?}");
        end = finding.range.end;
    }
    masked(text);
}
