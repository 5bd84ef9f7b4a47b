"""How English reads abbreviations, units, currencies and symbols."""

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

# Before a capitalized name, with or without a period.
TITLES = {
    "Mr": "Mister", "Mrs": "Missus", "Ms": "Miz", "Mx": "Mix", "Dr": "Doctor", "Prof": "Professor", "St": "Saint",
    "Mt": "Mount", "Ft": "Fort", "Gen": "General", "Gov": "Governor", "Sen": "Senator", "Rep": "Representative",
    "Capt": "Captain", "Lt": "Lieutenant", "Col": "Colonel", "Sgt": "Sergeant", "Cpl": "Corporal", "Maj": "Major",
    "Adm": "Admiral", "Cmdr": "Commander", "Rev": "Reverend", "Hon": "Honorable", "Pres": "President", "Fr": "Father",
    "Msgr": "Monsignor", "Supt": "Superintendent", "Atty": "Attorney",
}  # fmt: skip

ABBREVIATIONS = {
    "e.g.": "for example", "i.e.": "that is", "etc.": "et cetera", "vs.": "versus", "cf.": "compare",
    "approx.": "approximately", "est.": "established", "al.": "al", "ca.": "circa", "viz.": "namely",
    "Jr.": "Junior", "Sr.": "Senior", "Inc.": "Incorporated", "Ltd.": "Limited", "Corp.": "Corporation",
    "Co.": "Company", "Bros.": "Brothers", "Dept.": "Department", "dept.": "department", "Univ.": "University",
    "Assn.": "Association", "Govt.": "Government", "govt.": "government", "St.": "Street", "Ave.": "Avenue",
    "Blvd.": "Boulevard", "Rd.": "Road", "Ln.": "Lane", "Hwy.": "Highway", "Pkwy.": "Parkway", "Apt.": "Apartment",
    "Bldg.": "Building", "vol.": "volume", "Vol.": "Volume", "fig.": "figure", "Fig.": "Figure", "figs.": "figures",
    "ch.": "chapter", "Ch.": "Chapter", "sec.": "section", "Sec.": "Section", "pp.": "pages", "ed.": "edition",
    "eds.": "editors", "Dr.": "Doctor", "min.": "minutes", "hrs.": "hours", "a.k.a.": "also known as", "w/": "with",
    "w/o": "without", "vs": "versus",
}  # fmt: skip

# After the name of a street.
STREETS = {"St": "Street", "Ave": "Avenue", "Blvd": "Boulevard", "Dr": "Drive", "Ln": "Lane", "Rd": "Road"}

# Singular and plural, after a number.
UNITS = {
    "km": ("kilometer", "kilometers"), "m": ("meter", "meters"), "cm": ("centimeter", "centimeters"),
    "mm": ("millimeter", "millimeters"), "µm": ("micrometer", "micrometers"), "nm": ("nanometer", "nanometers"),
    "mi": ("mile", "miles"), "yd": ("yard", "yards"), "ft": ("foot", "feet"), "in.": ("inch", "inches"),
    "kg": ("kilogram", "kilograms"), "g": ("gram", "grams"), "mg": ("milligram", "milligrams"),
    "µg": ("microgram", "micrograms"), "lb": ("pound", "pounds"), "lbs": ("pound", "pounds"),
    "oz": ("ounce", "ounces"), "l": ("liter", "liters"), "L": ("liter", "liters"),
    "ml": ("milliliter", "milliliters"), "mL": ("milliliter", "milliliters"), "cl": ("centiliter", "centiliters"),
    "gal": ("gallon", "gallons"), "ha": ("hectare", "hectares"), "sq ft": ("square foot", "square feet"),
    "sq mi": ("square mile", "square miles"), "km²": ("square kilometer", "square kilometers"),
    "m²": ("square meter", "square meters"), "m³": ("cubic meter", "cubic meters"),
    "mph": ("mile per hour", "miles per hour"), "km/h": ("kilometer per hour", "kilometers per hour"),
    "kph": ("kilometer per hour", "kilometers per hour"), "m/s": ("meter per second", "meters per second"),
    "Hz": ("hertz", "hertz"), "kHz": ("kilohertz", "kilohertz"), "MHz": ("megahertz", "megahertz"),
    "GHz": ("gigahertz", "gigahertz"), "kB": ("kilobyte", "kilobytes"), "KB": ("kilobyte", "kilobytes"),
    "MB": ("megabyte", "megabytes"), "GB": ("gigabyte", "gigabytes"), "TB": ("terabyte", "terabytes"),
    "kbps": ("kilobit per second", "kilobits per second"), "Mbps": ("megabit per second", "megabits per second"),
    "Gbps": ("gigabit per second", "gigabits per second"), "fps": ("frame per second", "frames per second"),
    "rpm": ("revolution per minute", "revolutions per minute"), "dB": ("decibel", "decibels"),
    "V": ("volt", "volts"), "W": ("watt", "watts"), "kW": ("kilowatt", "kilowatts"), "MW": ("megawatt", "megawatts"),
    "kWh": ("kilowatt hour", "kilowatt hours"), "mAh": ("milliamp hour", "milliamp hours"),
    "h": ("hour", "hours"), "hr": ("hour", "hours"), "hrs": ("hour", "hours"), "min": ("minute", "minutes"),
    "mins": ("minute", "minutes"), "sec": ("second", "seconds"), "secs": ("second", "seconds"),
    "s": ("second", "seconds"),
    "ms": ("millisecond", "milliseconds"), "px": ("pixel", "pixels"), "kcal": ("kilocalorie", "kilocalories"),
    "°C": ("degree Celsius", "degrees Celsius"), "°F": ("degree Fahrenheit", "degrees Fahrenheit"),
    "°": ("degree", "degrees"), "%": ("percent", "percent"), "‰": ("per mille", "per mille"),
}  # fmt: skip

# Whole units and hundredths, each in singular and plural.
CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"), "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"), "¥": ("yen", "yen", "sen", "sen"),
    "₹": ("rupee", "rupees", "paisa", "paise"), "₩": ("won", "won", "jeon", "jeon"),
    "₽": ("ruble", "rubles", "kopek", "kopeks"),
    "USD": ("dollar", "dollars", "cent", "cents"), "EUR": ("euro", "euros", "cent", "cents"),
    "GBP": ("pound", "pounds", "penny", "pence"), "CHF": ("franc", "francs", "centime", "centimes"),
}  # fmt: skip
MAGNITUDES = {
    "k": "thousand", "K": "thousand", "m": "million", "M": "million", "mn": "million", "b": "billion", "B": "billion",
    "bn": "billion", "tn": "trillion", "thousand": "thousand", "million": "million", "billion": "billion",
    "trillion": "trillion",
}  # fmt: skip

SYMBOLS = {
    "&": "and", "@": "at", "%": "percent", "‰": "per mille", "+": "plus", "=": "equals", "<": "less than",
    ">": "greater than", "≤": "less than or equal to", "≥": "greater than or equal to", "≠": "not equal to",
    "≈": "about", "~": "about", "±": "plus or minus", "×": "times", "÷": "divided by", "√": "the square root of",
    "∞": "infinity", "°": "degrees", "¢": "cents", "§": "section", "¶": "paragraph", "©": "copyright",
    "™": "trademark", "®": "registered", "→": "to", "←": "from", "½": "one half", "¼": "one quarter",
    "¾": "three quarters", "⅓": "one third", "⅔": "two thirds", "²": "squared", "³": "cubed", "µ": "micro",
    "#": "hash", "*": "", "_": " ", "^": "to the power of", "|": ",", "\\": "backslash", "•": ",", "·": ",", "†": "",
    "{": ",", "}": ",", "[": "(", "]": ")", "№": "number", "μ": "micro", "$": "dollars", "£": "pounds", "€": "euros",
    "¥": "yen", "₹": "rupees", "₩": "won", "₽": "rubles", "Ω": "ohms",
}  # fmt: skip

# A Roman numeral after these is a number ("Chapter IV"), after the others an ordinal ("Henry VIII").
NUMBERED = (
    "Chapter|Part|Act|Scene|Section|Volume|Book|Phase|Article|World War|Mark|Type|Level|Stage|Class|Grade|Super Bowl|"
    "Apollo|Gemini|Saturn|Final Fantasy|Episode|Round|Rocky|Appendix|Figure|Table|Title|Unit|Sonata|Symphony|Opus"
)
MONARCHS = (
    "Henry|Louis|Edward|George|William|Charles|James|Richard|Elizabeth|Napoleon|Pius|Benedict|Leo|John Paul|Ramses|"
    "Ramesses|Frederick|Philip|Alexander|Nicholas|Peter|Catherine|Ivan|Umberto|Victor Emmanuel|Gustav|Christian|"
    "Ferdinand|Francis|Mary|Otto|Wilhelm|Leopold|Darius|Xerxes|Ptolemy|Innocent|Gregory|Clement|Urban|Paul|John"
)
