/* The words of the simulated shop: departments, what they sell, brands, and how a title is put
 * together. */
#include "app/shop_internal.h"

#include <stdio.h>

enum { DEPARTMENTS = 12, NOUNS = 10, ADJECTIVES = 24, BRAND_HEADS = 16, BRAND_TAILS = 12 };

struct department {
    const char *name;
    double price; /* median, in the shop's currency */
    const char *nouns[NOUNS];
    const char *sizes[4];
};

static const struct department departments[DEPARTMENTS] = {
    {"kitchen",
     34,
     {"Kettle", "Toaster", "Blender", "Frying Pan", "Knife Set", "Coffee Grinder", "Baking Tin",
      "Teapot", "Cutting Board", "Storage Jar"},
     {"1.7 L", "Small", "Large", "Set of 3"}},
    {"garden",
     41,
     {"Watering Can", "Plant Pot", "Hose", "Pruning Shears", "Bird Feeder", "Lantern", "Trellis",
      "Wheelbarrow", "Seed Kit", "Parasol"},
     {"20 cm", "5 m", "Tall", "Pack of 2"}},
    {"audio",
     89,
     {"Headphones", "Speaker", "Turntable", "Microphone", "Earbuds", "Soundbar", "Amplifier",
      "Radio", "Audio Cable", "Headphone Stand"},
     {"Black", "White", "Mk II", "Pro"}},
    {"computing",
     129,
     {"Keyboard", "Mouse", "Monitor", "Webcam", "Laptop Sleeve", "Docking Station", "Router",
      "External Drive", "Desk Lamp", "USB Hub"},
     {"27 inch", "1 TB", "Wireless", "USB-C"}},
    {"outdoor",
     72,
     {"Tent", "Backpack", "Sleeping Bag", "Camping Stove", "Head Torch", "Trekking Poles",
      "Water Bottle", "Dry Bag", "Hammock", "Cool Box"},
     {"2 Person", "45 L", "Ultralight", "Winter"}},
    {"clothing",
     38,
     {"Rain Jacket", "Jumper", "Shirt", "Jeans", "Scarf", "Beanie", "Wool Socks", "Dress",
      "Cardigan", "Gloves"},
     {"S", "M", "L", "XL"}},
    {"toys",
     24,
     {"Building Blocks", "Puzzle", "Board Game", "Plush Bear", "Toy Train", "Kite", "Paint Set",
      "Doll House", "Marble Run", "Card Game"},
     {"Age 3+", "Age 6+", "500 Pieces", "Travel"}},
    {"sport",
     47,
     {"Running Shoes", "Yoga Mat", "Dumbbell", "Football", "Tennis Racket", "Skipping Rope",
      "Swim Goggles", "Cycling Helmet", "Gym Bag", "Foam Roller"},
     {"Size 42", "5 kg", "Junior", "Pro"}},
    {"beauty",
     19,
     {"Face Cream", "Shampoo", "Lip Balm", "Perfume", "Hair Brush", "Soap Bar", "Body Lotion",
      "Nail Polish", "Sun Cream", "Bath Salts"},
     {"50 ml", "200 ml", "Refill", "Gift Box"}},
    {"books",
     15,
     {"Cookbook", "Crime Novel", "Atlas", "Poetry Collection", "Travel Guide", "Biography",
      "Picture Book", "Science Reader", "Notebook", "Calendar"},
     {"Hardback", "Paperback", "2nd Edition", "Illustrated"}},
    {"home",
     55,
     {"Cushion", "Throw", "Table Lamp", "Picture Frame", "Candle", "Rug", "Mirror", "Wall Clock",
      "Vase", "Laundry Basket"},
     {"45 cm", "Round", "Large", "Set of 2"}},
    {"pets",
     22,
     {"Dog Lead", "Cat Tree", "Food Bowl", "Dog Bed", "Scratching Post", "Aquarium Filter",
      "Chew Toy", "Pet Carrier", "Bird Cage", "Grooming Brush"},
     {"Small", "Medium", "Large", "Steel"}},
};

static const char *const adjectives[ADJECTIVES] = {
    "Compact",  "Classic", "Folding", "Vintage", "Everyday", "Premium",  "Nordic",  "Rustic",
    "Silent",   "Bright",  "Soft",    "Sturdy",  "Eco",      "Retro",    "Slim",    "Deluxe",
    "Handmade", "Modern",  "Light",   "Woven",   "Striped",  "Portable", "Natural", "Essential"};

static const char *const brand_heads[BRAND_HEADS] = {"Nor", "Kel", "Ost",  "Bram", "Lin", "Vel",
                                                     "Tor", "Mar", "Hald", "Fen",  "Sol", "Ruk",
                                                     "Alm", "Dov", "Wex",  "Pil"};
static const char *const brand_tails[BRAND_TAILS] = {"va",  "mo",  "by",  "wick", "den", "ora",
                                                     "sen", "ley", "ika", "holm", "eri", "ton"};

int shop__department_count(void)
{
    return DEPARTMENTS;
}

int shop__noun_count(void)
{
    return NOUNS;
}

const char *shop__department(int department)
{
    return departments[department].name;
}

const char *shop__noun(int department, int noun)
{
    return departments[department].nouns[noun];
}

double shop__department_price(int department)
{
    return departments[department].price;
}

struct str shop__adjective(uint64_t mix)
{
    return str_of(adjectives[mix % ADJECTIVES]);
}

static size_t cut(int n, size_t size)
{
    return n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1;
}

size_t shop__brand(int department, uint64_t mix, char *out, size_t size)
{
    int which = (int)(mix >> 8 & 7); /* a department has eight brands */
    return cut(snprintf(out, size, "%s%s", brand_heads[(department * 5 + which * 3) % BRAND_HEADS],
                        brand_tails[(department * 7 + which) % BRAND_TAILS]),
               size);
}

size_t shop__title(int department, int noun, uint64_t mix, char *out, size_t size)
{
    char brand[16];
    (void)shop__brand(department, mix, brand, sizeof(brand));
    return cut(snprintf(out, size, "%s %s %s %s %u", brand, adjectives[(mix >> 16) % ADJECTIVES],
                        departments[department].nouns[noun],
                        departments[department].sizes[mix >> 32 & 3],
                        100 + (unsigned)(mix >> 40) % 900),
               size);
}
