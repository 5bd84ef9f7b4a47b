"""Hard sentences for text to speech, by what makes them hard.

Small models skip, repeat or hurry where a text is unlike the sentences that they were trained on: single words and
letters, numbers and names, words that recur, sounds that alternate, and very long paragraphs.
"""

PARAGRAPH = (
    "The road to the quarry leaves the village behind the church and climbs for about an hour through fields of "
    "barley. At first it is wide enough for two carts, and in summer the dust lies so thick on it that every step "
    "leaves a print. Further up the fields give way to heather, the wall on the left hand comes to an end, and the "
    "traveler has nothing to guide him but a row of white stones that somebody once painted and nobody has painted "
    "since. My grandfather walked this road every morning for thirty years. He left before the sun was up, with "
    "bread and an onion in his pocket, and he came back when the lamps were being lit. He never spoke about the "
    "work. What he liked to speak about was the weather, which he could tell from the color of the hills, and the "
    "birds, which he knew by their voices. There was one that he called the clerk, because it seemed to count; it "
    "would call four times, wait, and call four times again, as if it had lost its place. When the quarry was "
    "closed the men were offered work in the town, but most of them were too old to begin again, and those who went "
    "soon returned. The machines were sold. The sheds were left to the rain, and within a few winters the roofs had "
    "fallen in. Water filled the deepest pit, so clear and so cold that children dared each other to put a hand in "
    "it and count to ten. I have been up there only once since he died. It was a bright day in October. The stones "
    "were still white in places, and the wind had swept the road as clean as a floor. I sat on the wall where he "
    "used to rest, ate my bread, and looked down at the village, which is hardly smaller now than it was then, "
    "although it looked smaller to me. After a while a bird began to call behind the sheds. It called four times, "
    "and it waited. I did not turn around, because I was afraid that it would stop; I sat there and counted with it "
    "until the shadow of the hill had reached my feet. Then I walked home, slowly, the way he used to, with my "
    "hands behind my back and my eyes on the ground."
)

HARD_SENTENCES: dict[str, tuple[str, ...]] = {
    "numbers": (
        "The bridge is 1,284 feet long and 36 feet wide.",
        "About 3.7 percent of the 5,600 voters answered.",
        "He paid $18.50 for the book and £7 for the map.",
        "The 2nd and the 31st are taken, but the 14th is free.",
        "Add 2/3 of a cup of flour and stir for 10 minutes.",
        "Call 555-0142 before 6:45 p.m.",
    ),
    "dates": (
        "The treaty was signed on March 3, 1918.",
        "On 12 August 2024 the bank will be closed.",
        "The shop has been here since the 1970s.",
        "The train leaves at 7:05 on Monday the 21st.",
    ),
    "names": (
        "Dr. Agnieszka Kowalczyk met Mr. Thibodeaux in Albuquerque.",
        "Siobhan and Joaquin moved from Leicester to Worcester.",
        "Mrs. Nguyen lives on St. Paul St. near Lake Okeechobee.",
        "Tchaikovsky, Dvorak and Rimsky-Korsakov were on the program.",
        "Write to anna.lee@example.com or see www.example.org.",
    ),
    "one word": ("Yes.", "Wait!", "Tomorrow?", "Extraordinary.", "Thoroughly."),
    "one letter": ("A.", "B.", "W.", "X.", "Z."),
    "tongue-twisters": (
        "She sells sea shells by the sea shore.",
        "Peter Piper picked a peck of pickled peppers.",
        "The sixth sick sheikh's sixth sheep is sick.",
        "Red lorry, yellow lorry, red lorry, yellow lorry.",
        "How much wood would a woodchuck chuck if a woodchuck could chuck wood?",
        "Fresh fried fish, fish fresh fried, fried fish fresh.",
    ),
    "repeated words": (
        "No, no, no, no, no, that is not what I said.",
        "It was a long, long, long way home.",
        "The man who had had nothing had had everything before.",
        "Again and again and again and again he knocked.",
        "Buffalo, buffalo, buffalo, and one more buffalo.",
    ),
    "punctuation": (
        "Well... perhaps; perhaps not - who knows?",
        '"Stop!" she said. "Not here (not now)."',
        "One: the keys. Two: the lamp. Three: the door.",
    ),
    "a paragraph": (PARAGRAPH,),
}
