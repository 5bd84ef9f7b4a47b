"""What the normalizer says for numbers, dates, times, money, units, addresses and abbreviations."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiodiff.text.characters import clean
from audiodiff.text.normalization import normalize
from audiodiff.text.number_words import cardinal, ordinal, roman, year
from audiodiff.text.readings import (
    ABBREVIATIONS,
    CURRENCIES,
    MAGNITUDES,
    MONARCHS,
    MONTHS,
    NUMBERED,
    STREETS,
    SYMBOLS,
    TITLES,
    UNITS,
    WEEKDAYS,
)

SPOKEN = {
    # numbers
    "We saw 7 swans.": "We saw seven swans.",
    "It took 1,234,567 steps.": "It took one million two hundred thirty four thousand five hundred sixty seven steps.",
    "About 3.14, not 0.5 or .25.": "About three point one four, not zero point five or point two five.",
    "It fell to -5 overnight.": "It fell to minus five overnight.",
    "Agent 007 is back.": "Agent zero zero seven is back.",
    "Call me at 1500.": "Call me at fifteen hundred.",
    "A 100 of 342.": "A one hundred of three hundred forty two.",
    "2 + 2 = 4": "two plus two equals four",
    "7 - 3 is 4": "seven minus three is four",
    "The card 12345678901234567890 expired.": "The card one two three four five six seven eight nine zero one two "
    "three four five six seven eight nine zero expired.",
    "Add 1/2 cup, 2 1/2 spoons and 3/4 pint.": "Add one half cup, two and one half spoons and three quarters pint.",
    "Open 24/7.": "Open twenty four seven.",
    "A 16:9 screen": "A sixteen to nine screen",
    "A 4x4 car, 3x faster": "A four by four car, three times faster",
    # ordinals
    "The 1st, 2nd, 3rd and 21st of them.": "The first, second, third and twenty first of them.",
    "Her 100th and 12th birthdays": "Her one hundredth and twelfth birthdays",
    "On 5th Avenue": "On fifth Avenue",
    # dates and years
    "On 2024-03-05 it rained.": "On March fifth, twenty twenty four it rained.",
    "Due 3/5/2024.": "Due March fifth, twenty twenty four.",
    "Due 12/31/99.": "Due December thirty first, nineteen ninety nine.",
    "March 5, 2024 was a Tuesday.": "March fifth, twenty twenty four was a Tuesday.",
    "On Mar. 5 we met.": "On March fifth we met.",
    "On 5 March 2024 we met.": "On the fifth of March, twenty twenty four we met.",
    "The 14th of July": "the fourteenth of July",
    "On the 14th of July, 1789, it fell.": "On the fourteenth of July, seventeen eighty nine, it fell.",
    "In May 2001": "In May two thousand one",
    "In 1805 and in 1900": "In eighteen oh five and in nineteen hundred",
    "By 2030, not 2007.": "By twenty thirty, not two thousand seven.",
    "The 1990s and the '80s": "The nineteen nineties and the eighties",
    "The class of '07": "The class of oh seven",
    "Mon., Jan. 3": "Monday, January third",
    "April 3-5": "April third to fifth",
    # times
    "At 7:30 pm sharp": "At seven thirty P.M. sharp",
    "At 9:05 we left.": "At nine oh five we left.",
    "Open 12:00-13:30 on Mon.": "Open twelve o'clock to thirteen thirty on Mon.",
    "From 9-5 pm, 7–9 a.m. and 9:30 a.m. - 5 p.m.": (
        "From nine to five P.M., seven to nine A.M. and nine thirty A.M. to five P.M."
    ),
    "John 3:16-18": "John three sixteen to eighteen",
    "At 12:00 we ate.": "At twelve o'clock we ate.",
    "At 14:00 and 18:45": "At fourteen hundred and eighteen forty five",
    "Come at 7pm.": "Come at seven P.M.",
    "From 9 a.m. to 5 p.m. daily": "From nine A.M. to five P.M. daily",
    "It lasted 1:02:03.": "It lasted one oh two and three seconds.",
    # money
    "It costs $5.50.": "It costs five dollars and fifty cents.",
    "It costs $1.": "It costs one dollar.",
    "It costs $0.99, not $1,299.": "It costs ninety nine cents, not one thousand two hundred ninety nine dollars.",
    "A $1.5 million house": "A one point five million dollars house",
    "It made $3bn and £20k.": "It made three billion dollars and twenty thousand pounds.",
    "£3.20 or €100 or ¥500": "three pounds and twenty pence or one hundred euros or five hundred yen",
    "It is 50¢ or 20 USD.": "It is fifty cents or twenty dollars.",
    "$10-15 each": "ten to fifteen dollars each",
    "We lost -$40.": "We lost minus forty dollars.",
    # units
    "A 5 km run at 60 mph": "A five kilometers run at sixty miles per hour",
    "1 kg of flour, 250 g of butter": "one kilogram of flour, two hundred fifty grams of butter",
    "20°C is 68 °F.": "twenty degrees Celsius is sixty eight degrees Fahrenheit.",
    "It was -3°C.": "It was minus three degrees Celsius.",
    "5% or 3.5 %": "five percent or three point five percent",
    "44.1 kHz and 16 GB": "forty four point one kilohertz and sixteen gigabytes",
    "10-15 cm long": "ten to fifteen centimeters long",
    "100 m² at 9.8 m/s": "one hundred square meters at nine point eight meters per second",
    "He is 5'10\".": "He is five foot ten.",
    "A 5-km run": "A five kilometer run",
    "Wait 30 sec.": "Wait thirty seconds.",
    # abbreviations
    "Dr. Smith and Mr. Jones": "Doctor Smith and Mister Jones",
    "Mrs Brown lives on Main St.": "Missus Brown lives on Main Street.",
    "St. Mary's on Elm Dr., no. 5": "Saint Mary's on Elm Drive, no. five",
    "Fruit, e.g. apples, i.e. food, etc.": "Fruit, for example apples, that is food, et cetera.",
    "Cats vs. dogs": "Cats versus dogs",
    "No. 5 on p. 12": "number five on page twelve",
    "Acme Inc. and Bolt Ltd. merged": "Acme Incorporated and Bolt Limited merged",
    "Salt & pepper w/o sugar": "Salt and pepper without sugar",
    "Prof. Lee, approx. 40": "Professor Lee, approximately forty",
    # addresses
    "Write to jane.doe@example.com.": "Write to jane dot doe at example dot com.",
    "See https://www.example.org/docs.": "See W W W dot example dot org slash docs.",
    "At example.com, ok": "At example dot com, ok",
    "my_file-2@mail.co.uk": "my underscore file dash two at mail dot co dot U K",
    # Roman numerals
    "Chapter IV of World War II": "Chapter four of World War two",
    "Henry VIII and Louis XIV": "Henry the eighth and Louis the fourteenth",
    "Queen Elizabeth I died; Elizabeth I adore.": "Queen Elizabeth the first died; Elizabeth I adore.",
    "Rocky III and Part V": "Rocky three and Part five",
    "I saw VI and CD": "I saw VI and CD",
    "Part C, Chapter I'd read and King Charles X": "Part C, Chapter I'd read and King Charles the tenth",
    "For my part I agree with part I.": "For my part I agree with part one.",
    # ranges
    "Pages 10-15, 1914–1918": "Pages ten to fifteen, nineteen fourteen to nineteen eighteen",
    "Children of 3 - 5 won.": "Children of three to five won.",
    # phone numbers
    "Call 555-0123.": "Call five five five, zero one two three.",
    "Call (555) 123-4567 now": "Call five five five, one two three, four five six seven now",
    "Call 1-800-555-0199.": "Call one, eight zero zero, five five five, zero one nine nine.",
    "Call +1 555 123 4567.": "Call plus one, five five five, one two three, four five six seven.",
    # letters and digits, versions, symbols
    "An MP3 and a B2B deal": "An MP three and a B two B deal",
    "COVID-19 and the F-16": "COVID nineteen and the F sixteen",
    "Version 2.0.1": "Version two point zero point one",
    "At 192.168.0.1": "At one nine two dot one six eight dot zero dot one",
    "#5 and/or he/she": "number five and slash or he slash she",
    "Wait... what -- no?": "Wait… what — no?",
    "½ of it [sic]": "one half of it (sic)",
    "I'm fine; it's 'quoted'.": "I'm fine; it's 'quoted'.",
}


@pytest.mark.parametrize("text", SPOKEN)
def test_texts_are_spoken_as_people_speak_them(text):
    assert normalize(text) == SPOKEN[text]


@settings(max_examples=300, deadline=None)
@given(st.text() | st.from_regex(r"[-$£+#0-9:/.,a-zA-Z%@ ]{0,30}", fullmatch=True))
def test_any_text_ends_without_digits(text):
    spoken = normalize(clean(text)[0])
    assert not re.search(r"[0-9$£€%@&+=]", spoken)


WORDS = [
    *ABBREVIATIONS, *TITLES, *STREETS, *UNITS, *MONTHS, *WEEKDAYS, *CURRENCIES, *MAGNITUDES, *SYMBOLS,
    *NUMBERED.split("|"), *MONARCHS.split("|"), "King", "No.", "p.", "at", "Lady", "C", "I", "I'd", "IIII", "XC", "a",
]  # fmt: skip


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.sampled_from(WORDS) | st.from_regex(r"[A-Z0-9:/.,'-]{1,6}", fullmatch=True), max_size=6))
def test_no_order_of_the_words_that_have_rules_fails(words):
    assert not re.search(r"[0-9]", normalize(" ".join(words)))


@given(st.integers(1, 999_999_999_999_999))
def test_numbers_have_one_reading(number):
    assert not re.search(r"\d|  ", cardinal(number))
    assert ordinal(number).endswith(("st", "nd", "rd", "th"))


def test_years_and_numerals():
    assert [year(n) for n in (2000, 2010, 1000, 1066)] == [
        "two thousand",
        "twenty ten",
        "one thousand",
        "ten sixty six",
    ]
    assert [roman(n) for n in ("IV", "XLIX", "MCMXCIX")] == [4, 49, 1999]
