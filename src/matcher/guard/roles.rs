//! Roles people have, and whom a question is about.

/// A section is a set of roles; two of one set exclude each other.
pub(super) const LIST: &str = "
[account]
administrator
guest
moderator
editor
viewer
member
[trade]
buyer, purchaser
seller, vendor
supplier
customer, client
courier, carrier
[work]
employer
employee, worker
contractor
freelancer, self employed
manager, supervisor, boss
intern
apprentice
[home]
tenant, renter
landlord, property owner
roommate, flatmate, housemate
subtenant
neighbor
[money]
lender, creditor
borrower, debtor
cosigner, guarantor
[school]
student, pupil
teacher, instructor
professor
principal
[health]
doctor, physician
nurse
patient
pharmacist
dentist
[insurance]
insurer, insurance company
insured, policyholder
beneficiary
[law]
plaintiff
defendant
judge
witness
lawyer, attorney
[travel]
passenger
pilot
driver
host
[age]
baby, newborn, infant
toddler
child, kid
teenager, teen
adult
senior, elderly, senior citizen
[kin]
wife
husband
spouse
son
daughter
brother
sister
father, dad
mother, mum, mom
parents
grandfather, grandpa
grandmother, grandma
grandparents
boyfriend
girlfriend
friend
[sex]
man, male
woman, female
boy
girl
";

/// Whose matter it is.
pub(super) const PERSONS: &str = "
[owner]
my, mine, our
his, her, hers
their, theirs
[subject]
he
she
[object]
him
her
";
