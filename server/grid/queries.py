"""Who may see what of the grid: the only door to areas, schools, people and their terms.

The scope of a person is a query, so that one statement answers and history needs no rewriting:

- office, town group: every school in the subtrees of their areas;
- inspector: the schools of their appointments, and those of visits they belong to (see activities);
- school contact: their school;
- expert: only what they were drawn for (see activities).

Superusers see everything.
"""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery

from server.grid.models import Appointment, Area, Membership, School, User, in_term, not_over

Role = Membership.Role
OFFICES = (Role.OFFICE, Role.TOWN_GROUP)


def roles_of(user: User) -> QuerySet[Membership]:
    """The person's memberships whose term covers today, with area and school."""
    return user.memberships.filter(in_term()).select_related("area", "school")


def remember_roles(user: User) -> list[Membership]:
    """Ask for the roles once for as long as this object lives: the many queries of one page share it.

    For a request alone: terms begin and end, so what lives longer asks each time.
    """
    user.known_roles = list(roles_of(user))
    return user.known_roles


def has_role(user: User, *roles: str) -> bool:
    """Whether the person holds one of the roles today, anywhere."""
    return user.memberships.filter(in_term(), role__in=roles).exists()


def area_paths(user: User, *roles: str) -> list[str]:
    """The paths of the areas in which the person holds one of the roles today."""
    if user.known_roles is not None:
        return [each.area.path for each in user.known_roles if each.area and each.role in roles]
    rows = user.memberships.filter(in_term(), role__in=roles, area__isnull=False)
    return list(rows.values_list("area__path", flat=True))


def under(paths: list[str], field: str) -> Q:
    """Rows whose `field` lies in the subtree of one of the paths; none when there are no paths."""
    condition = Q(pk__in=[])
    for path in paths:
        condition |= Q(**{f"{field}__startswith": path})
    return condition


def office_paths(user: User) -> list[str]:
    """The paths of the areas for which the person speaks as an office or town group. One query.

    The doors below and in other apps ask for them; who goes through several asks once and hands them on.
    """
    return area_paths(user, *OFFICES)


def schools_in_office_of(user: User, paths: list[str] | None = None) -> QuerySet[School]:
    """Schools for which the person speaks as an office or town group. `paths`: of `office_paths`."""
    if user.is_superuser:
        return School.objects.all()
    return School.objects.filter(
        under(office_paths(user) if paths is None else paths, "area__path")
    )


def schools_visible_to(user: User) -> QuerySet[School]:
    """Schools in the person's offices, at which they work, or to which they are appointed."""
    if user.is_superuser:
        return School.objects.all()
    return School.objects.filter(
        under(area_paths(user, *OFFICES), "area__path")
        | Q(Exists(Membership.objects.filter(in_term(), school=OuterRef("pk"), user=user)))
        | Q(Exists(Appointment.objects.filter(in_term(), school=OuterRef("pk"), inspector=user)))
    )


def areas_visible_to(user: User) -> QuerySet[Area]:
    """Areas in the subtrees of the person's memberships, and those above their schools."""
    if user.is_superuser:
        return Area.objects.all()
    paths = area_paths(user, *Role.values)
    above = School.objects.filter(pk__in=schools_visible_to(user).values("pk")).filter(
        area__path__startswith=OuterRef("path")
    )
    return Area.objects.filter(under(paths, "path") | Q(Exists(above)))


def people_visible_to(user: User) -> QuerySet[User]:
    """Oneself; for offices all with a role in the subtree; else those who share a visible school."""
    if user.is_superuser:
        return User.objects.all()
    schools = schools_visible_to(user).values("pk")
    paths = area_paths(user, *OFFICES)
    in_area = Membership.objects.filter(under(paths, "area__path"), user=OuterRef("pk"))
    at_school = Membership.objects.filter(user=OuterRef("pk"), school__in=schools)
    appointed = Appointment.objects.filter(inspector=OuterRef("pk"), school__in=schools)
    return User.objects.filter(
        Q(pk=user.pk) | Q(Exists(in_area)) | Q(Exists(at_school)) | Q(Exists(appointed))
    )


def people_managed_by(user: User) -> QuerySet[User]:
    """Whom the person may change as an office: every role they hold lies in the person's offices.

    A role elsewhere, or no role at all, puts somebody out of reach: else an office could take over
    the log-in of its superiors.
    """
    if user.is_superuser:
        return User.objects.all()
    paths = area_paths(user, *OFFICES)
    inside = Membership.objects.filter(
        under(paths, "area__path") | under(paths, "school__area__path")
    )
    lasting = Membership.objects.filter(not_over(), user=OuterRef("pk"))
    elsewhere = lasting.exclude(pk__in=inside.values("pk"))
    return User.objects.filter(
        Exists(inside.filter(user=OuterRef("pk"))), ~Exists(elsewhere), is_superuser=False
    )


def contacts_of(school: School) -> QuerySet[User]:
    """The school's contacts today."""
    rows = Membership.objects.filter(in_term(), school=school, role=Role.SCHOOL_CONTACT)
    return User.objects.filter(pk__in=Subquery(rows.values("user")), is_active=True)


def schools_of_contact(user: User) -> QuerySet[School]:
    """Schools whose contact the person is today."""
    rows = user.memberships.filter(in_term(), role=Role.SCHOOL_CONTACT)
    return School.objects.filter(pk__in=Subquery(rows.values("school")))


def offices_over(area: Area, *roles: str) -> QuerySet[User]:
    """People who hold one of the roles (default: office) in the area or above it today."""
    paths = [area.path[: i + 1] for i, letter in enumerate(area.path) if letter == "/"]
    rows = Membership.objects.filter(
        in_term(), role__in=roles or (Role.OFFICE,), area__path__in=paths
    )
    return User.objects.filter(pk__in=Subquery(rows.values("user")), is_active=True)


def memberships_visible_to(user: User) -> QuerySet[Membership]:
    """The roles in the person's visible areas and schools."""
    rows = Membership.objects.select_related("user", "area", "school")
    if user.is_superuser:
        return rows
    return rows.filter(
        Q(
            area__in=areas_visible_to(user).values("pk"),
            user__in=people_visible_to(user).values("pk"),
        )
        | Q(school__in=schools_visible_to(user).values("pk"))
    )


def people_with_role_at(area: Area, *roles: str) -> QuerySet[User]:
    """People who hold one of the roles today in this area itself, not above or below it."""
    rows = Membership.objects.filter(in_term(), area=area, role__in=roles)
    return User.objects.filter(pk__in=Subquery(rows.values("user")), is_active=True)
